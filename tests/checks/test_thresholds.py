"""What every option of `threshold` has to satisfy: a new YAML file is checked by being there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.special import expit, logit, softmax

from recipes.config import build
from recipes.data.facts import Task
from recipes.errors import ConfigError
from recipes.evaluation import Rule, Threshold

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "threshold"
OPTIONS: dict[str, dict[str, Any]] = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yaml"))}
TASKS: tuple[Task, ...] = ("binary", "multiclass", "multilabel")
SHARES: dict[str, list[float]] = {"binary": [0.9, 0.1], "multiclass": [0.6, 0.3, 0.1], "multilabel": [0.5, 0.2, 0.05]}
NAMES: dict[str, tuple[str, ...]] = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c"), "multilabel": ("a", "b", "c")}
COSTS = [[0, 1, 1], [2, 0, 1], [10, 5, 0]]
# Every option runs with its defaults; settings that change its course stand here as well.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in OPTIONS),
    ("cost", {"matrix": COSTS}),
    ("cost", {"matrix": [[0, 1], [9, 0]]}),
    ("fixed", {"value": [0.2, 0.5, 0.9]}),
    *(("offsets", {"objective": name}) for name in ("balanced_accuracy", "g_mean", "mcc")),
    *(("per_label", {"objective": name}) for name in ("fbeta", "balanced_accuracy", "g_mean", "mcc")),
]


def sample(task: Task, rows: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Natural logits and targets drawn from them."""
    rng = np.random.default_rng([seed, len(task)])
    logits = rng.normal(size=(rows, len(SHARES[task])))
    if task == "multilabel":
        logits += logit(SHARES[task])
        return logits, (rng.random(logits.shape) < expit(logits)).astype(np.float32)
    logits += np.log(SHARES[task])
    return logits, (rng.random((rows, 1)) > softmax(logits, axis=1).cumsum(axis=1)).sum(axis=1)


def fit(option: Threshold, task: Task, rows: tuple[np.ndarray, np.ndarray], weights: np.ndarray | None = None) -> Rule:
    return option.fit(*rows, task, NAMES[task], weights, np.random.default_rng(0))


def legal(name: str, changes: dict[str, Any], task: Task) -> bool:
    try:
        build(Threshold, {**OPTIONS[name], **changes}, "threshold").check(task, NAMES[task])
    except ConfigError:
        return False
    return True


CASES = [(name, changes, task) for name, changes in VARIANTS for task in TASKS]
LEGAL = [case for case in CASES if legal(*case)]


def label(case: tuple[str, dict[str, Any], Task]) -> str:
    name, changes, task = case
    return "-".join([name, *(f"{k}={v}" for k, v in changes.items()), task])


@pytest.fixture(params=LEGAL, ids=label)
def case(request: pytest.FixtureRequest) -> tuple[Task, Threshold]:
    name, changes, task = request.param
    return task, build(Threshold, {**OPTIONS[name], **changes}, "threshold")


@pytest.mark.parametrize("case", [case for case in CASES if case not in LEGAL], ids=label)
def test_a_task_that_an_option_is_not_for_is_refused_with_the_way_out(case: tuple[str, dict[str, Any], Task]) -> None:
    name, changes, task = case
    option = build(Threshold, {**OPTIONS[name], **changes}, "threshold")
    with pytest.raises(ConfigError, match=r"threshold[.=].*(use threshold|give )"):
        fit(option, task, sample(task))


def test_every_option_is_for_some_task() -> None:
    assert {name for name, _, _ in LEGAL} == set(OPTIONS)
    assert {task for _, _, task in LEGAL} == set(TASKS)


def test_decisions_have_their_shape_and_inputs_stay(case: tuple[Task, Threshold]) -> None:
    task, option = case
    logits, targets = sample(task)
    kept = logits.copy(), targets.copy()
    decided = fit(option, task, (logits, targets)).decide(logits, logits, task)
    assert decided.dtype == (bool if task == "multilabel" else np.int64)
    assert decided.shape == targets.shape
    if task != "multilabel":
        assert set(decided) <= set(range(len(NAMES[task])))
    np.testing.assert_array_equal(logits, kept[0])
    np.testing.assert_array_equal(targets, kept[1])


def test_a_row_alone_is_a_row_among_others(case: tuple[Task, Threshold]) -> None:
    task, option = case
    rule = fit(option, task, sample(task))
    others, _ = sample(task, 60, seed=1)
    together = rule.decide(others, others, task)
    alone = np.concatenate([rule.decide(others[n : n + 1], others[n : n + 1], task) for n in range(60)])
    np.testing.assert_array_equal(alone, together)


def test_json_brings_back_the_same_rule(case: tuple[Task, Threshold]) -> None:
    task, option = case
    logits, targets = sample(task)
    rule = fit(option, task, (logits, targets))
    again = Rule.from_dict(json.loads(json.dumps(rule.as_dict(), allow_nan=False)))
    np.testing.assert_array_equal(again.decide(logits, logits, task), rule.decide(logits, logits, task))
    assert again.as_dict() == rule.as_dict()
    assert again.describe(task) == rule.describe(task)
    assert rule.describe(task).startswith(option.name)
    assert "\n" not in rule.describe(task)


def test_whole_weights_are_repeated_rows(case: tuple[Task, Threshold]) -> None:
    task, option = case
    logits, targets = sample(task)
    weights = np.random.default_rng(2).integers(0, 4, len(logits))
    repeated = np.repeat(np.arange(len(logits)), weights)
    weighted = fit(option, task, (logits, targets), weights.astype(float))
    plain = fit(option, task, (logits[repeated], targets[repeated]))
    if weighted.offsets_C is not None and plain.reason is None and weighted.reason is None:
        np.testing.assert_allclose(weighted.offsets_C, plain.offsets_C, atol=1e-9)
        assert weighted.value == pytest.approx(plain.value)


def test_a_rule_that_chooses_nothing_is_the_same_on_other_rows(case: tuple[Task, Threshold]) -> None:
    task, option = case
    first, second = (fit(option, task, sample(task, seed=seed)).as_dict() for seed in (0, 1))
    kept = ("offsets_C", "costs_CC")
    assert option.chooses == any(first[name] != second[name] for name in kept)


def test_the_same_generator_gives_the_same_rule(case: tuple[Task, Threshold]) -> None:
    task, option = case
    assert fit(option, task, sample(task)).as_dict() == fit(option, task, sample(task)).as_dict()


def test_few_rows_or_broken_logits_leave_a_rule_that_decides(case: tuple[Task, Threshold]) -> None:
    task, option = case
    logits, targets = sample(task, 40)
    for count in (40, 2, 1, 0):
        rule = fit(option, task, (logits[:count], targets[:count]))
        assert rule.decide(logits, logits, task).shape == targets.shape
    broken = logits.copy()
    broken[3] = np.nan
    assert fit(option, task, (broken, targets)).decide(logits, logits, task).shape == targets.shape
