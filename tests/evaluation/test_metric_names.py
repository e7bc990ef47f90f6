"""Names of metrics, their directions, and what is said of a wrong monitor."""

from __future__ import annotations

import subprocess
import sys

import pytest

from recipes.errors import ConfigError
from recipes.evaluation import METRICS, check_monitor, direction

NAMES = ["loss", "accuracy", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro", "f1_micro", "f1_weighted", "roc_auc"]
NAMES += ["pr_auc", "mcc", "kappa", "g_mean", "log_loss", "brier", "ece", "ece_classwise"]


def test_the_table_is_complete():
    assert list(METRICS) == NAMES
    assert {name for name in NAMES if direction(name) == "min"} == {"loss", "log_loss", "brier", "ece", "ece_classwise"}
    assert direction("val/f1_macro") == direction("f1_macro") == "max"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", None])
def test_every_metric_of_the_task_may_be_monitored(name, task):
    if task is None or task in METRICS[name].tasks:
        check_monitor(f"val/{name}", task)
    else:
        with pytest.raises(ConfigError, match=f"{name} is not defined for {task} tasks; allowed: val/loss, val/accuracy"):
            check_monitor(f"val/{name}", task)


@pytest.mark.parametrize(
    ("monitor", "hint"),
    [
        ("val/f1macro", "did you mean 'val/f1_macro'?"),
        ("f1_macro", "did you mean 'val/f1_macro'?"),
        ("val_f1_macro", "did you mean 'val/f1_macro'?"),
        ("f1_makro", "did you mean 'val/f1_macro'?"),
        ("test/pr_auc", "only the validation split may be monitored (test is scored once, after selection); use 'val/pr_auc'"),
        ("train/loss", "use 'val/loss'"),
        ("nonsense", "allowed: val/loss, val/accuracy"),
        ("", "allowed: val/loss"),
    ],
)
def test_a_wrong_monitor_names_the_nearest(monitor, hint):
    with pytest.raises(ConfigError) as error:
        check_monitor(monitor, "multiclass")
    assert hint in str(error.value)
    assert f"monitor: '{monitor}'" in str(error.value)


def test_the_room_imports_neither_torch_nor_scikit_learn():
    code = "import sys, recipes.evaluation; print(sorted({'torch', 'sklearn', 'scipy', 'torchmetrics'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
