"""What a checkpoint holds of a run, and a run from a checkpoint."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

from recipes.errors import CheckpointError
from recipes.training.seeding import rng_state, set_rng_state

if TYPE_CHECKING:
    from recipes.training.job import Job


log = logging.getLogger(__name__)


@dataclass
class Position:
    """How far training is. A step is one window of the sampler; an update is a step that fp16's scaler did not skip."""

    step: int = 0
    updates: int = 0


def state_of(job: Job) -> dict[str, Any]:
    """All that the rest of the run depends on: tensors, numbers, strings, lists and dicts of them."""
    return {
        "config": json.dumps(job.config),
        "data": _data(job),
        "step": job.position.step,
        "updates": job.position.updates,
        "evaluated_at": job.evaluated_at,
        "model": job.model.state_dict(),
        "optimizer": job.optimizer.state_dict(),
        "schedule": job.schedule.state_dict(),
        "best": job.best.state_dict(),
        "stopper": job.stopper.state_dict(),
        "ema": job.ema.state_dict() if job.ema else [],
        "scaler": job.precision.state_dict(),
        "fused": job.fused,
        "meter": job.meter.state_dict(),
        "loss": job.loss.state_dict(),
        "sampler": job.sampler.state_dict(),
        "rng": rng_state(job.gather.device),
    }


def restore(job: Job, state: dict[str, Any]) -> None:
    """Put the state back. Raises CheckpointError where the data is not what it was."""
    if state["data"] != _data(job):
        raise CheckpointError(
            f"resume: the data is not what it was when {job.run_dir} was trained: other rows, labels or features; "
            "bring back the old data, or start a new run without resume"
        )
    job.position = Position(state["step"], state["updates"])
    job.evaluated_at = state["evaluated_at"]
    job.model.load_state_dict(state["model"])
    job.optimizer.load_state_dict(state["optimizer"])
    job.schedule.load_state_dict(state["schedule"])
    job.best.load_state_dict(state["best"])
    job.stopper.load_state_dict(state["stopper"])
    if job.ema:
        job.ema.load_state_dict(state["ema"])
    if state["fused"] != job.fused:
        was, now = ("in the fused step", "by autograd")[:: 1 if state["fused"] else -1]
        log.warning("resume: the run trained %s until here, and goes on %s, since this machine differs: results differ a little", was, now)
    if not job.fused:  # which computes in fp32, whatever the run began in
        job.precision.load_state_dict(state["scaler"])
    job.meter.load_state_dict(state["meter"])
    job.loss.load_state_dict(state["loss"])
    job.loss.active = job.position.step > job.starts_at or not job.starts_at
    job.sampler.load_state_dict(state["sampler"])
    set_rng_state({name: value.cpu() for name, value in state["rng"].items()}, job.gather.device)


def _data(job: Job) -> list[int]:
    """What tells other data under the same config: sizes, and checksums of targets and words."""
    facts, words = job.facts, "\0".join((*job.facts.class_names, *job.facts.vocabulary)).encode()
    return [facts.train_rows, facts.vocab_size, facts.num_features, len(job.labels), crc32(job.labels.tobytes()), crc32(words)]
