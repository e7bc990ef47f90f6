"""Metrics, decisions and curves: pure functions of arrays, on the rows of a whole split."""

from recipes.evaluation.counts import confusion_matrix
from recipes.evaluation.decisions import decide, probabilities
from recipes.evaluation.evaluate import absent, evaluate
from recipes.evaluation.names import METRICS, Metric, check_monitor, direction
from recipes.evaluation.ranking import Curve, curves

__all__ = [
    "METRICS",
    "Curve",
    "Metric",
    "absent",
    "check_monitor",
    "confusion_matrix",
    "curves",
    "decide",
    "direction",
    "evaluate",
    "probabilities",
]
