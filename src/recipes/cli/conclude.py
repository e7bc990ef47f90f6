"""The end of a training: the kept weights are scored, probabilities calibrated and decisions chosen on validation, test read once."""

from __future__ import annotations

import csv
import io
import logging
from dataclasses import dataclass

import numpy as np
import torch

from recipes.cli.settings import Settings
from recipes.config import build
from recipes.data import Dataset, Facts, Split
from recipes.evaluation import Calibration, Readout, Threshold, calibration_summary, class_scores, probabilities
from recipes.evaluation.joint_fit import fit_readout
from recipes.priors import Ledger
from recipes.randomness import generator
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


def conformal_scores(readout: Readout, val: Split | None, raw_NC: np.ndarray | None) -> dict[str, np.ndarray]:
    """What prediction sets need of validation, from its raw logits: one array a class, by its number; empty without validation."""
    if val is None or raw_NC is None:
        return {}
    task = readout.ledger.task
    found = class_scores(probabilities(readout.logits(raw_NC), task), val.labels(), task, weights_of(val))
    return {str(c): scores for c, scores in enumerate(found)}


def weights_of(split: Split) -> np.ndarray | None:
    """(N,) weights of the rows; None where all are one."""
    return split.weights.cpu().numpy() if split.weighted else None


def fitted(settings: Settings, facts: Facts, ledger: Ledger, val: Split | None, raw_NC: np.ndarray | None) -> Readout:
    """Calibration and threshold as the settings have them, on validation's raw logits; without validation what needs none of it."""
    trust = settings.top.trust
    calibration = build(Calibration, settings.group("calibration"), "calibration", trust=trust)
    threshold = build(Threshold, settings.group("threshold"), "threshold", trust=trust)
    if val is None or raw_NC is None:
        raw_NC, weights_N = np.zeros((0, facts.num_classes)), None
        labels: np.ndarray = np.zeros((0, facts.num_classes)) if facts.task == "multilabel" else np.zeros(0, np.int64)
    else:
        labels, weights_N = val.labels(), weights_of(val)
    rng = generator(settings.top.seed, "threshold")
    return fit_readout(calibration, threshold, ledger, raw_NC, labels, facts.task, facts.class_names, weights_N, rng)


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
