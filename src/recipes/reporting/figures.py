"""The pictures at the end of a run, as PNG files in figures/. C classes or labels."""

from __future__ import annotations

import numpy as np

from recipes.data.facts import Facts
from recipes.evaluation import confusion_matrix, curves
from recipes.reporting.documents import write_bytes
from recipes.training.events import Evaluation, Listener, Result, RunInfo


class Figures(Listener):
    """Draws the final scores: of the test split, or of val where there is no test.

    TensorBoard shows what lies in figures/, so this listener stands before that one.
    """

    def start(self, run: RunInfo) -> None:
        self._run = run
        for stale in (run.run_dir / "figures").glob("*.png"):
            stale.unlink()

    def end(self, result: Result) -> None:
        evaluation = result.evaluations.get("test") or result.evaluations.get("val")
        if evaluation is None:
            return
        for name, picture in pictures(evaluation, self._run).items():
            write_bytes(self._run.run_dir / "figures" / f"{name}.png", picture)


def pictures(evaluation: Evaluation, run: RunInfo) -> dict[str, bytes]:
    """PNG by name: `class_distribution`, and `<split>_pr_curves`, `<split>_roc_curves` and `<split>_confusion` where scores are numbers."""
    from recipes.reporting import plots

    facts, split = run.facts, evaluation.split
    noun = "labels" if facts.task == "multilabel" else "classes"
    drawn = {"class_distribution": plots.png(plots.distribution_figure, facts.class_counts, run.sampled_counts, facts.class_names, noun)}
    if np.isnan(evaluation.logits).any():
        return drawn
    support_C = np.array([scores["support"] for scores in evaluation.per_class.values()])
    shown = [1] if facts.task == "binary" else list(map(int, np.argsort(-support_C, kind="stable")[: plots.MOST_CLASSES]))
    of = f"{split}, the {plots.MOST_CLASSES} largest {noun}" if len(support_C) > plots.MOST_CLASSES else split
    found = curves(evaluation.logits, evaluation.targets, facts.task, facts.class_names, evaluation.weights, classes=shown)
    if found:
        drawn[f"{split}_pr_curves"] = plots.png(plots.pr_figure, found, of)
        drawn[f"{split}_roc_curves"] = plots.png(plots.roc_figure, found, of)
    matrix_CC = _confusion(evaluation, facts)
    drawn[f"{split}_confusion"] = plots.png(plots.confusion_figure, matrix_CC, support_C, facts.class_names, split)
    return drawn


def _confusion(evaluation: Evaluation, facts: Facts) -> np.ndarray:
    """(C, C) rows: true class down, decided class across; for multi-label, rows with one label that were given another, or the same."""
    decided = evaluation.decided
    if facts.task != "multilabel":
        return confusion_matrix(evaluation.targets, decided, facts.num_classes, evaluation.weights)
    true_NC = (evaluation.targets >= 0.5).astype(np.float64)
    weights_N = np.ones(len(true_NC)) if evaluation.weights is None else evaluation.weights
    return (true_NC * weights_N[:, None]).T @ decided.astype(np.float64)
