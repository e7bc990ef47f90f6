"""The end of a training: the kept weights are scored, probabilities calibrated and decisions chosen on validation, test read once."""

from __future__ import annotations

import csv
import io
import logging
from dataclasses import dataclass

import numpy as np
import torch

from recipes.cli.readout import conformal_scores, fitted
from recipes.cli.settings import Settings
from recipes.data import Dataset
from recipes.evaluation import Readout, calibration_summary
from recipes.reporting.documents import write_text
from recipes.sampling import Deferred, HardNegatives
from recipes.training.events import Evaluation, Result
from recipes.training.job import Job
from recipes.training.precision import Precision
from recipes.training.scoring import judge, score

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What is told, and what travels with the model."""

    result: Result
    readout: Readout
    conformal: dict[str, np.ndarray]  # validation's scores of nonconformity, from which prediction sets are made


def conclude(job: Job, settings: Settings, data: Dataset, reason: str, seconds: float) -> Outcome:
    """Score the kept weights: validation again, and test for the first and only time."""
    size, step = settings.trainer.eval_batch_size, job.best.best_step if job.best.found else job.position.step
    exact = Precision("fp32", settings.device)  # what prediction computes in: the scores are those that the user will get
    splits = {s.name: s.to(settings.device) for s in (data.val, data.test) if s is not None}
    raw = {name: score(job.model, split, size, exact) for name, split in splits.items()}
    val_NC = raw["val"].cpu().numpy() if "val" in raw else None
    readout = fitted(settings, job.facts, job.ledger_at(step), data.val, val_NC)
    epoch = step / job.steps_per_epoch
    final = {name: judge(raw[name], job.loss, split, data.facts, readout, step, epoch) for name, split in splits.items()}
    best = {f"val/{k}": v for k, v in final["val"].metrics.items()} if "val" in final else {}
    result = Result(
        reason=reason,
        steps=job.position.step,
        epochs=job.epoch,
        seconds=seconds,
        best_step=step,
        best_metrics=best,
        monitor=job.best.monitor,
        monitored=job.best.best,
        evaluations=final,
        calibration={name: _compared(raw[name], found, job) for name, found in final.items()},
        decision=readout.rule.describe(data.facts.task),
        calibrated=readout.calibrator.describe()
        + ("" if readout.ledger.exact or readout.calibrator.kind != "prior" else ", not exact here"),
    )
    return Outcome(result, readout, conformal_scores(readout, data.val, val_NC))


def _compared(raw_NC: torch.Tensor, found: Evaluation, job: Job) -> dict[str, dict[str, float]]:
    """Calibration of the network's own probabilities, and of the corrected ones."""
    before = calibration_summary(raw_NC.cpu().numpy(), found.targets, job.facts.task, found.weights)
    return {"before": before, "after": {name: found.metrics[name] for name in before}}


def write_suspects(job: Job, data: Dataset, readout: Readout) -> None:
    """Where the sampler doubts labels of train: their rows as a CSV for review, the most doubtful first."""
    sampler = job.sampler.sampler if isinstance(job.sampler, Deferred) else job.sampler
    if not isinstance(sampler, HardNegatives):
        return
    raw_NC = score(job.model, job.gather.train, job.settings.eval_batch_size, job.precision).cpu().numpy()
    sampler.rescore(raw_NC)
    suspects, names = sampler.suspects, data.facts.class_names
    likely = readout.logits(raw_NC[suspects]).argmax(axis=1)
    given, scores = job.gather.train.labels()[suspects], sampler.scores(raw_NC[suspects])
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["row", "label", "likeliest", "score"])
    for n, row in enumerate(suspects):
        label = names[given[n]] if given.ndim == 1 else ""
        table.writerow([int(data.rows["train"][row]), label, names[likely[n]], f"{scores[n]:.6g}"])
    path = job.run_dir / "suspicious_labels.csv"
    write_text(path, text.getvalue())
    log.info("%d rows of train whose label is doubtful: %s", len(suspects), path)
