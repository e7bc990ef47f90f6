"""Put a run together: data, components, and the job that the loop drives."""

from __future__ import annotations

from pathlib import Path

import torch

from recipes.cli.settings import Settings
from recipes.config import build, resolve
from recipes.data import Dataset, Features, Needs, Source, Task, prepare
from recipes.errors import ConfigError
from recipes.evaluation import check_monitor, direction
from recipes.losses import Loss
from recipes.models import Model
from recipes.optim import Schedule, make_clip, make_optimizer
from recipes.randomness import generator
from recipes.sampling import Sampler, sampled_counts
from recipes.training.events import Listener, RunInfo
from recipes.training.job import Job, total_steps
from recipes.training.precision import Precision
from recipes.training.seeding import seed_everything
from recipes.training.step import Gather
from recipes.training.stopping import Stopper


def read_data(settings: Settings) -> tuple[Dataset, Needs]:
    """The encoded splits that the chosen model needs."""
    trust = settings.top.trust
    needs = resolve(Model, settings.group("model"), "model", trust).needs(settings.group("model"))
    source = build(Source, settings.group("data"), "data", trust=trust)
    features = build(Features, settings.group("features"), "features", trust=trust)
    return prepare(source, features, needs, settings.top.task, settings.top.seed), needs


def assemble(settings: Settings, data: Dataset, run_dir: Path, listener: Listener) -> Job:
    """Build every component from its settings and the facts of the data. Raises ConfigError where they do not fit together."""
    trainer, seed, device, trust = settings.trainer, settings.top.seed, settings.device, settings.top.trust
    facts = data.facts.as_dict()
    best, stopper = _stoppers(settings, data.facts.task)
    seed_everything(seed, trainer.deterministic)
    model = build(Model, settings.group("model"), "model", facts=facts, trust=trust).to(device)
    loss = build(Loss, settings.group("loss"), "loss", facts=facts, trust=trust).to(device)
    sampler = build(Sampler, settings.group("sampler"), "sampler", facts=facts, trust=trust)
    mining = build(Sampler, settings.group("mining"), "mining", facts=facts, trust=trust)
    if mining.mines and sampler.mines:
        raise ConfigError("sampler and mining both select samples; choose sampler=shuffle with mining, or mining=none with this sampler")
    plan = sampler.resample(data.train, generator(seed, "resample"))
    labels = data.train.labels()[plan.rows]
    steps_per_epoch = sampler.steps_per_epoch(plan, labels, trainer.window)
    steps = total_steps(trainer, steps_per_epoch)
    length = {"steps_per_epoch": steps_per_epoch, "total_steps": steps}
    schedule = build(Schedule, settings.group("scheduler"), "scheduler", facts=length, trust=trust)
    if schedule.observes and data.val is None:
        raise ConfigError("scheduler=plateau follows a validation metric, and the data has no validation split")
    return Job(
        run_dir=run_dir,
        config=settings.identity(),
        settings=trainer,
        seed=seed,
        facts=data.facts,
        model=model,
        loss=loss,
        sampler=sampler,
        miner=mining if mining.mines else sampler,
        optimizer=make_optimizer(settings.group("optimizer"), model, trust=trust),
        schedule=schedule,
        clip=make_clip(trainer.clip, trainer.clip_value, model),
        gather=Gather(data.train.to(device), plan),
        labels=labels,
        val=None if data.val is None else data.val.to(device),
        precision=Precision(trainer.precision, device),
        best=best,
        stopper=stopper,
        steps_per_epoch=steps_per_epoch,
        total_steps=steps,
        listener=listener,
    )


def _stoppers(settings: Settings, task: Task) -> tuple[Stopper, Stopper]:
    """What decides which weights are kept, and when to stop; ConfigError for a metric that the task does not have."""
    stopping, kept = settings.trainer.early_stopping, settings.top.monitor
    followed = stopping.monitor or kept
    for monitor in (kept, followed):
        check_monitor(monitor, task)
    return Stopper(kept, direction(kept)), Stopper(followed, direction(followed), stopping.patience, stopping.min_delta)


def describe(job: Job, settings: Settings, data: Dataset, overrides: list[str]) -> RunInfo:
    """What the listeners are told at the start."""
    rng = generator(settings.top.seed, "batches", 0)
    return RunInfo(
        run_dir=job.run_dir,
        config=settings.plain,
        overrides=overrides,
        facts=data.facts,
        split_rows={name: len(split) for name, split in data.splits.items()},
        split_counts={name: split.class_counts() for name, split in data.splits.items()},
        sampled_counts=sampled_counts(job.sampler, job.gather.plan, job.labels, settings.trainer.window, rng, data.facts.num_classes),
        synthetic_rows=int(job.gather.plan.synthetic.sum()),
        notes=[data.encoder.describe(), *data.notes],
        model=type(job.model).__name__,
        parameters=sum(p.numel() for p in job.model.parameters() if p.requires_grad),
        device=_device_name(job.gather.device),
        precision=settings.trainer.precision,
        batch_size=settings.trainer.batch_size,
        accumulate=settings.trainer.accumulate,
        steps_per_epoch=job.steps_per_epoch,
        total_steps=job.total_steps,
        max_epochs=job.total_steps / job.steps_per_epoch,
        monitor=settings.top.monitor,
        resumed_from_step=job.position.step,
    )


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)"
