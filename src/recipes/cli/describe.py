"""What the listeners are told at the start of a run."""

from __future__ import annotations

import numpy as np
import torch

from recipes.cli.settings import Settings
from recipes.data import Dataset
from recipes.training.events import Audit, RunInfo
from recipes.training.job import Job


def describe(job: Job, settings: Settings, data: Dataset, overrides: list[str]) -> RunInfo:
    """Data, recipe, size and pace, and the audit of the classes."""
    return RunInfo(
        run_dir=job.run_dir,
        config=settings.plain,
        overrides=overrides,
        facts=data.facts,
        split_rows={name: len(split) for name, split in data.splits.items()},
        split_counts={name: split.class_counts() for name, split in data.splits.items()},
        sampled_counts=job.balance.dealt_C,
        synthetic_rows=int(job.gather.plan.synthetic.sum()),
        audit=audit(job, settings, data),
        notes=[data.encoder.describe(), *data.notes],
        model=type(job.model).__name__,
        parameters=sum(p.numel() for p in job.model.parameters() if p.requires_grad),
        device=_device_name(job.gather.device),
        precision=job.precision.describe(),
        step=job.how,
        batch_size=settings.trainer.batch_size,
        accumulate=settings.trainer.accumulate,
        steps_per_epoch=job.steps_per_epoch,
        total_steps=job.total_steps,
        max_epochs=job.total_steps / job.steps_per_epoch,
        monitor=settings.top.monitor,
        resumed_from_step=job.position.step,
    )


def audit(job: Job, settings: Settings, data: Dataset) -> Audit:
    """The ledger with everything at work that rebalances, whenever it starts."""
    counts_C, was = data.facts.class_counts, job.loss.active
    job.loss.active = True
    ledger = job.ledger
    job.loss.active = was
    seen_C = np.divide(job.balance.dealt_C, counts_C, out=np.full(len(counts_C), np.nan), where=counts_C > 0)
    return Audit(ledger, job.balance.dealt_C, seen_C, [*settings.notes, *job.notes], job.starts_at)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)"
