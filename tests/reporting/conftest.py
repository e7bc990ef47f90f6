"""A small run as the loop tells it: three classes, one of them absent from val."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from recipes.data.facts import Facts
from recipes.evaluation import decide, evaluate, probabilities
from recipes.priors import Declaration, Ledger
from recipes.training.events import Audit, Evaluation, Listener, Result, RunInfo, StepLog

NAMES = {
    "multiclass": ("common [sort]", "rare/odd $x$", "seltene Klasse mit einem sehr langen Namen, der nicht in die Spalte passt (Z99)"),
    "binary": ("benign", "malignant"),
    "multilabel": ("toxic", "threat", "insult"),
}
CONFIG = {
    "data": {"_target_": "recipes.data.File", "path": "reviews.csv"},
    "model": {"_target_": "recipes.models.TextCNN", "widths": [3, 4, 5], "dropout": 0.5},
    "sampler": {"_target_": "recipes.sampling.BalancedBatch"},
    "mining": {"_target_": "recipes.sampling.NoMining"},
    "loss": {"_target_": "recipes.losses.Focal", "gamma": 2.0},
    "optimizer": {"_target_": "recipes.optim.AdamW", "lr": 1e-3},
    "trainer": {"compile": False, "max_steps": None},
    "seed": 0,
}


def _evaluation(split: str, task: str, weighted: bool) -> Evaluation:
    rng = np.random.default_rng(["val", "test"].index(split))
    names = NAMES[task]
    rows, classes = 80, len(names)
    if task == "multilabel":
        targets = (rng.random((rows, classes)) < [0.5, 0.1, 0.2]).astype(np.float32)
        logits = rng.normal(size=(rows, classes)) + 2 * targets - 1
    else:
        targets = rng.choice(classes, rows, p=[0.9, 0.1] if classes == 2 else [0.85, 0.15, 0.0] if split == "val" else [0.8, 0.15, 0.05])
        logits = rng.normal(size=(rows, classes)) + 2 * np.eye(classes)[targets]
    logits = logits.astype(np.float32)
    weights = rng.random(rows).astype(np.float32) if weighted else None
    metrics, per_class = evaluate(logits, targets, task, names, weights)
    decided = decide(probabilities(logits, task), task)
    return Evaluation(split, 40, 4.0, {"loss": 0.5, **metrics}, per_class, logits, decided, targets, seconds=0.1, weights=weights)


def audit(task: str, counts: np.ndarray) -> Audit:
    """A sampler that balances, and a loss that is not exact with it."""
    shares = counts / counts.sum()
    ledger = Ledger(task, shares, np.full(len(counts), 1 / len(counts)), Declaration(weights_C=np.full(len(counts), 1.5)), ("a reason",))
    return Audit(ledger, np.full(len(counts), 321), 321 / counts, ["something was adapted"])


class Played:
    """Tells listeners a run of five epochs of ten steps, best at step 40."""

    def __init__(self, run_dir: Path, task: str = "multiclass", weighted: bool = False) -> None:
        names = NAMES[task]
        counts = np.array([720, 80, 3][: len(names)])
        self.evaluations = {split: _evaluation(split, task, weighted) for split in ("val", "test")}
        self.info = RunInfo(
            run_dir=run_dir,
            config=CONFIG,
            overrides=["model=textcnn", "loss=focal"],
            facts=Facts(task, "text", names, counts, int(counts.sum()), vocab_size=5432),
            split_rows={"train": int(counts.sum()), "val": 80, "test": 80},
            split_counts={"train": counts, "val": counts // 10, "test": counts // 10},
            sampled_counts=np.full(len(names), 321),
            synthetic_rows=17,
            audit=audit(task, counts),
            notes=["4 rows without a label were left out"],
            model="TextCNN",
            parameters=1_234_567,
            device="cpu",
            precision="fp32",
            batch_size=32,
            accumulate=3,
            steps_per_epoch=10,
            total_steps=50,
            max_epochs=5.0,
            monitor="val/f1_macro",
        )
        metrics = self.evaluations["val"].metrics
        self.result = Result(
            reason="no improvement of val/f1_macro in 3 evaluations",
            steps=50,
            epochs=5.0,
            seconds=83.0,
            best_step=40,
            best_metrics={f"val/{name}": value for name, value in metrics.items()},
            monitor="val/f1_macro",
            monitored=metrics["f1_macro"],
            evaluations=self.evaluations,
        )

    def tell(self, *listeners: Listener, until: int = 50, resumed: int = 0, end: bool = True) -> None:
        """Start (again after `resumed` steps), train up to step `until`, and end unless the run is to look killed."""
        info = dataclasses.replace(self.info, resumed_from_step=resumed)
        for listener in listeners:
            listener.start(info)
        for step in range(resumed + 5, until + 1, 5):
            log = StepLog(step, step / 10, 50, 1 / step, 1e-3, None if step == 5 else 2.5, 1234.0, 50.0 - step)
            for listener in listeners:
                listener.log(log)
            if step % 10 == 0:
                scored = dataclasses.replace(self.evaluations["val"], step=step, epoch=step / 10, improved=step in (10, 40))
                for listener in listeners:
                    listener.evaluated(scored)
        for listener in listeners:
            if end:
                listener.end(self.result)
            listener.close()


@pytest.fixture
def played(tmp_path: Path) -> Played:
    return Played(tmp_path)


@pytest.fixture
def rows() -> dict[str, np.ndarray]:
    """Row numbers in the source file, out of order as a split leaves them."""
    return {split: np.random.default_rng(3).permutation(500)[:80] for split in ("val", "test")}
