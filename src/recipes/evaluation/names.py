"""The metrics by name: which way is better, what each means, and for which tasks it exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from recipes.errors import ConfigError, nearest

if TYPE_CHECKING:
    from recipes.data.facts import Task

Direction = Literal["max", "min"]
_SINGLE: tuple[Task, ...] = ("binary", "multiclass")
_ALL: tuple[Task, ...] = ("binary", "multiclass", "multilabel")


class Metric(NamedTuple):
    """What is known of a metric before any data is read."""

    direction: Direction
    meaning: str
    tasks: tuple[Task, ...]


METRICS: dict[str, Metric] = {
    "loss": Metric("min", "mean of the training loss over the split, by the loop's weights", _ALL),
    "accuracy": Metric("max", "share of rows decided right; multi-label: share of rows with every label right", _ALL),
    "balanced_accuracy": Metric("max", "mean recall of the classes that occur in the split", _SINGLE),
    "precision_macro": Metric("max", "mean precision of the classes that occur in the split", _ALL),
    "recall_macro": Metric("max", "mean recall of the classes that occur in the split", _ALL),
    "f1_macro": Metric("max", "mean of the F1 of each class that occurs in the split", _ALL),
    "f1_micro": Metric("max", "F1 of the pooled counts; equal to accuracy unless multi-label", _ALL),
    "f1_weighted": Metric("max", "mean F1 of the classes, weighted by their rows", _ALL),
    "roc_auc": Metric("max", "area under the ROC curve: of the positive class (binary), mean of one-vs-rest (others)", _ALL),
    "pr_auc": Metric("max", "average precision: of the positive class (binary), mean of one-vs-rest (others)", _ALL),
    "mcc": Metric("max", "Matthews correlation of decisions and labels; 0 where it is 0/0", _SINGLE),
    "kappa": Metric("max", "Cohen's kappa: agreement beyond chance", _SINGLE),
    "g_mean": Metric("max", "geometric mean of the recalls of the classes that occur in the split", _SINGLE),
    "log_loss": Metric("min", "mean negative log probability of the true class, or of each label, in nats; nothing is clipped", _ALL),
    "brier": Metric("min", "mean squared error of the probabilities: of class 1 (binary), summed over classes, mean over labels", _ALL),
    "ece": Metric("min", "calibration error in 15 equal bins: of the top class's probability, or the mean over labels", _ALL),
    "ece_classwise": Metric("min", "calibration error of the probability of each class, mean over the classes", _SINGLE),
}


def direction(name: str) -> Direction:
    """`max` or `min` for a metric, with or without its split: `f1_macro`, `val/f1_macro`."""
    return METRICS[name.rpartition("/")[2]].direction


def check_monitor(monitor: str, task: Task | None = None) -> None:
    """Raise ConfigError unless `monitor` is `val/<metric>` and the metric exists for the task (None: for any task)."""
    allowed = [f"val/{name}" for name, metric in METRICS.items() if task is None or task in metric.tasks]
    if monitor in allowed:
        return
    split, slash, name = monitor.rpartition("/")
    names = [each.removeprefix("val/") for each in allowed]
    if slash and split != "val" and name in METRICS:
        hint = f"only the validation split may be monitored (test is scored once, after selection); use 'val/{name}'"
    elif name in METRICS and name not in names:
        hint = f"{name} is not defined for {task} tasks; allowed: {', '.join(allowed)}"
    else:
        close = nearest(name, names)
        hint = f"did you mean 'val/{close}'?" if close else f"allowed: {', '.join(allowed)}"
    raise ConfigError(f"monitor: '{monitor}' is not a metric of the validation split; {hint}")
