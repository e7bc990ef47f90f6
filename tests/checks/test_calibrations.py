"""What every option of `calibration` has to satisfy: a new YAML file is checked by being there."""

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
from recipes.evaluation import Calibration, Calibrator, probabilities
from recipes.priors import Declaration, Ledger

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "calibration"
OPTIONS: dict[str, dict[str, Any]] = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yaml"))}
TASKS: tuple[Task, ...] = ("binary", "multiclass", "multilabel")
SHARES: dict[str, list[float]] = {"binary": [0.9, 0.1], "multiclass": [0.6, 0.3, 0.1], "multilabel": [0.5, 0.2, 0.05]}


def ledger(task: Task) -> Ledger:
    """Of a focal loss on balanced batches, and not exact: every option has something to do."""
    shares = np.array(SHARES[task])
    dealt = np.full(len(shares), 0.5 if task == "multilabel" else 1 / len(shares))
    return Ledger(task, shares, dealt, Declaration(focus=1.0), ("synthetic rows",))


def sample(task: Task, rows: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Raw logits in float32, as networks give them, and targets."""
    rng = np.random.default_rng([seed, len(task)])
    true = rng.normal(size=(rows, len(SHARES[task])))
    if task == "multilabel":
        true += logit(SHARES[task])
        return (2 * true + 1).astype(np.float32), (rng.random(true.shape) < expit(true)).astype(np.float32)
    true += np.log(SHARES[task])
    return (2 * true).astype(np.float32), (rng.random((rows, 1)) > softmax(true, axis=1).cumsum(axis=1)).sum(axis=1)


@pytest.fixture(params=[(name, task) for name in OPTIONS for task in TASKS], ids="-".join)
def case(request: pytest.FixtureRequest) -> tuple[str, Task, Calibration]:
    name, task = request.param
    return name, task, build(Calibration, OPTIONS[name], "calibration")


def test_probabilities_are_probabilities(case: tuple[str, Task, Calibration]) -> None:
    _, task, option = case
    raw, targets = sample(task)
    kept = raw.copy(), targets.copy()
    found = option.fit(raw, ledger(task), targets, None, task)(raw, ledger(task))
    assert found.dtype == np.float64
    assert found.shape == raw.shape
    share = probabilities(found, task)
    assert ((share >= 0) & (share <= 1)).all()
    if task != "multilabel":
        np.testing.assert_allclose(share.sum(axis=1), 1)
    np.testing.assert_array_equal(raw, kept[0])
    np.testing.assert_array_equal(targets, kept[1])


def test_the_mean_probability_is_the_frequency_where_a_bias_is_fitted(case: tuple[str, Task, Calibration]) -> None:
    name, task, option = case
    raw, targets = sample(task)
    share = probabilities(option.fit(raw, ledger(task), targets, None, task)(raw, ledger(task)), task)
    frequency = targets.mean(axis=0) if task == "multilabel" else np.bincount(targets) / len(targets)
    error = np.abs(share.mean(axis=0) - frequency).max()
    if name in ("none", "prior", "focal_inverse", "temperature"):
        assert error > 0.01  # nothing else would show that the sample needs a bias
    else:
        assert error < (0.01 if task == "multiclass" else 2e-3)


def test_a_row_alone_is_a_row_among_others(case: tuple[str, Task, Calibration]) -> None:
    _, task, option = case
    raw, targets = sample(task)
    found = option.fit(raw, ledger(task), targets, None, task)
    others, _ = sample(task, 50, seed=1)
    together = found(others, ledger(task))
    for n in (0, 7, 49):
        np.testing.assert_allclose(found(others[n : n + 1], ledger(task))[0], together[n], rtol=1e-12, atol=1e-12)


def test_a_larger_logit_is_a_larger_probability(case: tuple[str, Task, Calibration]) -> None:
    """Along one class's own logit, beyond what validation has shown as well."""
    _, task, option = case
    raw, targets = sample(task)
    found = option.fit(raw, ledger(task), targets, None, task)
    line = np.zeros((201, raw.shape[1]))
    line[:, 1] = np.linspace(-30, 30, 201)
    share = probabilities(found(line, ledger(task)), task)[:, 1]
    assert (np.diff(share) >= -1e-12).all()
    assert share[-1] > share[0]


def test_json_brings_back_the_same_map(case: tuple[str, Task, Calibration]) -> None:
    _, task, option = case
    raw, targets = sample(task)
    found = option.fit(raw, ledger(task), targets, None, task)
    again = Calibrator.from_dict(json.loads(json.dumps(found.as_dict(), allow_nan=False)))
    assert type(again) is type(found)
    np.testing.assert_array_equal(again(raw, ledger(task)), found(raw, ledger(task)))
    assert again.describe() == found.describe()
    assert "\n" not in found.describe()


def test_whole_weights_are_repeated_rows_and_their_scale_has_no_effect(case: tuple[str, Task, Calibration]) -> None:
    name, task, option = case
    raw, targets = sample(task)
    weights = np.random.default_rng(2).integers(0, 4, len(raw))
    repeated = np.repeat(np.arange(len(raw)), weights)
    weighted = option.fit(raw, ledger(task), targets, weights.astype(float), task)(raw, ledger(task))
    plain = option.fit(raw[repeated], ledger(task), targets[repeated], None, task)(raw, ledger(task))
    scaled = option.fit(raw, ledger(task), targets, weights * 0.01, task)(raw, ledger(task))
    # Isotonic ends are clipped at one over the rows, of which there are more when they are repeated.
    loose = 1e-3 if name == "isotonic" else 1e-5
    np.testing.assert_allclose(probabilities(weighted, task), probabilities(plain, task), atol=loose)
    np.testing.assert_allclose(probabilities(scaled, task), probabilities(weighted, task), atol=1e-5)


@pytest.mark.parametrize("count", [30, 2, 1, 0])
def test_few_rows_fit_or_are_refused_with_a_way_out(case: tuple[str, Task, Calibration], count: int) -> None:
    _, task, option = case
    raw, targets = sample(task, 30)
    refused = None
    try:
        option.check(ledger(task), targets[:count], None, task)
    except ConfigError as error:
        refused = str(error)
    if refused is None:
        found = option.fit(raw[:count], ledger(task), targets[:count], None, task)
        assert np.isfinite(found(raw, ledger(task))).all()
        return
    assert "use calibration=" in refused
    with pytest.raises(ConfigError):
        option.fit(raw[:count], ledger(task), targets[:count], None, task)
