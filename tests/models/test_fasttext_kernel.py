"""The compiled step of fastText against a loop of per-sample gradient descent in float64, on one thread.

N rows, V ids, E embedding, C classes or labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recipes.data.split import TrainSplit
from recipes.data.stores import BagStore
from recipes.losses import BCE, CrossEntropy, HierarchicalSoftmax, Loss, NegativeSampling, WeightedBCE, WeightedCE
from recipes.models import FastText, fasttext_kernel
from recipes.models.fasttext import _Update
from recipes.models.fused import Objective
from recipes.models.huffman import HierarchicalHead

NAMES = ("a", "b", "c", "d", "e")
COUNTS = np.array([40, 20, 10, 5, 1])
WORDS = ("", "<unk>", *map(str, range(18)))
BAGS = [[2, 3, 3, 9], [], [5], [19, 2], [7, 8, 10, 11, 12, 13, 2, 2], [4]]


def model_of(head: str = "linear", classes: int = 5, dim: int = 6, task: Any = "multiclass") -> FastText:
    torch.manual_seed(0)
    counts = COUNTS[:classes]
    model = FastText(classes, len(WORDS), WORDS, task, counts, int(counts.sum()), dim=dim, head=head)  # type: ignore[arg-type]
    with torch.no_grad():  # output weights of zero would hide the half of what happens
        model.head.weight.normal_(0, 0.5)
        model.embedding.weight.normal_(0, 0.5)
    return model


def split_of(targets: np.ndarray, bags: list[list[int]] = BAGS, classes: int = 5) -> TrainSplit:
    ids = np.array([i for bag in bags for i in bag], np.int32)
    store = BagStore(ids, np.array([len(bag) for bag in bags], np.int64), len(WORDS))
    return TrainSplit("train", store, targets, None, classes)


@dataclass
class Case:
    loss: Loss
    targets: np.ndarray
    head: str = "linear"
    classes: int = 5


ONE = np.array([0, 4, 2, 1, 3, 0])
SEVERAL = np.array([[1, 0, 0, 1, 0], [0] * 5, [1] * 5, [0, 1, 0, 0, 0], [0, 0, 1, 0, 1], [0, 0, 0, 1, 0]], np.float32)
SOFT = np.linspace(0, 1, 30, dtype=np.float32).reshape(6, 5)
WEIGHTS = {"weights": [0.5, 1.0, 2.0, 3.0, 4.0]}
CASES: dict[str, Case] = {
    "softmax": Case(CrossEntropy("multiclass"), ONE),
    "softmax of two": Case(CrossEntropy("binary"), ONE % 2, classes=2),
    "class weights": Case(WeightedCE("multiclass", COUNTS, NAMES, **WEIGHTS), ONE),
    "one against all": Case(BCE("multiclass"), ONE),
    "binary cross-entropy": Case(BCE("binary"), ONE % 2, classes=2),
    "weighted binary": Case(WeightedBCE("binary", COUNTS[:2], 60, pos_weight=3.0), ONE % 2, classes=2),
    "labels": Case(BCE("multilabel"), SEVERAL),
    "soft labels": Case(BCE("multilabel"), SOFT),
    "weighted labels": Case(WeightedBCE("multilabel", COUNTS, 76), SEVERAL),
    "weighted one against all": Case(WeightedBCE("multiclass", COUNTS, 76), ONE),
    "hierarchical": Case(HierarchicalSoftmax("multiclass"), ONE, "hierarchical"),
    "hierarchical of two": Case(HierarchicalSoftmax("binary"), ONE % 2, "hierarchical", 2),
}


def updated(case: Case, model: FastText, rates: np.ndarray, rows: np.ndarray, seed: int = 0) -> np.ndarray:
    objective = case.loss.objective()
    assert objective is not None
    update = model.fused_update(objective, 1)
    assert isinstance(update, _Update), update
    return update(split_of(case.targets, classes=case.classes), rows, rates.astype(np.float32), objective, seed, 0)


def by_autograd(case: Case, model: FastText, rates: np.ndarray, rows: np.ndarray) -> tuple[list[float], Tensor, Tensor]:
    """Row after row: the gradient of its loss by the Loss class, and a step against it. `model` is float64."""
    split, losses = split_of(case.targets, classes=case.classes), []
    for row, rate in zip(rows, rates.tolist(), strict=True):
        batch = split.batch(np.array([row]))
        loss = case.loss(model(batch), batch.targets).sum()
        table, out = model.embedding.weight, model.head.weight
        gradients = torch.autograd.grad(loss, [table, out])
        with torch.no_grad():
            for p, g in zip((table, out), gradients, strict=True):
                p.sub_(rate * g.to_dense())
        losses.append(loss.item())
    return losses, model.embedding.weight.detach(), model.head.weight.detach()


ROWS = np.array([0, 1, 2, 3, 4, 5, 4, 3, 0, 0, 1])
RATES = np.array([0.5, 0.5, 1.0, 0.3, 0.7, 0.0, 0.1, 0.9, 0.4, 0.2, 0.6])


@pytest.mark.parametrize("name", CASES)
def test_updates_and_losses_are_those_of_descent_row_by_row(name: str) -> None:
    case = CASES[name]
    model = model_of(case.head, case.classes)
    reference = model_of(case.head, case.classes).double()
    found = updated(case, model, RATES, ROWS)
    losses, table, out = by_autograd(case, reference, RATES, ROWS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, losses, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.embedding.weight.detach(), table, rtol=1e-4, atol=2e-6)
    np.testing.assert_allclose(model.head.weight.detach(), out, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", CASES)
def test_without_a_rate_nothing_moves_and_losses_are_those_of_the_loss(name: str) -> None:
    case = CASES[name]
    model, untouched = model_of(case.head, case.classes), model_of(case.head, case.classes)
    rows = np.arange(6)
    found = updated(case, model, np.zeros(6), rows)
    batch = split_of(case.targets, classes=case.classes).batch(rows)
    np.testing.assert_allclose(found, case.loss(untouched(batch), batch.targets).detach(), rtol=1e-5, atol=1e-6)
    for p, q in zip(model.parameters(), untouched.parameters(), strict=True):
        assert torch.equal(p, q)


def test_a_loss_that_is_not_active_yet_has_no_weights() -> None:
    for name in ("class weights", "weighted labels", "weighted binary"):
        case = replace(CASES[name])
        case.loss.active = False
        try:
            objective = case.loss.objective()
        finally:
            case.loss.active = True
        assert objective is not None
        assert objective.weights_C is None
        assert objective.positive_C is None


def test_a_row_without_ids_moves_the_output_by_nothing_but_is_a_row() -> None:
    """Its hidden vector is zero: the loss is that of equal scores, and no weight has a gradient."""
    model, untouched = model_of(), model_of()
    found = updated(CASES["softmax"], model, np.ones(1), np.array([1]))
    assert found == pytest.approx(np.log(5))
    for p, q in zip(model.parameters(), untouched.parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("dim", [1, 3, 16, 33])
def test_any_width(dim: int) -> None:
    model, reference = model_of(dim=dim), model_of(dim=dim).double()
    updated(CASES["softmax"], model, RATES, ROWS)
    _, table, out = by_autograd(CASES["softmax"], reference, RATES, ROWS)
    np.testing.assert_allclose(model.embedding.weight.detach(), table, rtol=1e-4, atol=2e-6)
    np.testing.assert_allclose(model.head.weight.detach(), out, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", ["softmax", "one against all", "labels", "hierarchical", "negative sampling"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_seen(name: str, value: float) -> None:
    case = CASES.get(name) or Case(NegativeSampling("multiclass", COUNTS), ONE)
    model = model_of(case.head)
    with torch.no_grad():
        model.embedding.weight[5] = value
    found = updated(case, model, np.full(6, 0.1), np.arange(6))
    assert np.isfinite(found[:2]).all()
    assert not np.isfinite(found[2])


def sampled(model: FastText, objective: Objective, rows: np.ndarray, rates: np.ndarray, seed: int) -> tuple[list[float], np.ndarray, Any]:
    """Negative sampling row by row in float64, with the kernel's own numbers in [0, 1) and draws by hand."""
    table, out = (p.detach().numpy().astype(np.float64) for p in (model.embedding.weight, model.head.weight))
    assert objective.noise_C is not None
    losses = []
    for b, (row, rate) in enumerate(zip(rows, rates, strict=True)):
        y, bag = ONE[row], BAGS[row]
        hidden = table[bag].mean(0) if bag else np.zeros(table.shape[1])
        others = np.array([c for c in range(5) if c != y])
        shares = np.cumsum(objective.noise_C[others] / objective.noise_C[others].sum())
        steps, loss, back = {}, np.logaddexp(0, -out[y] @ hidden), np.zeros_like(hidden)
        pull = rate / (1 + np.exp(out[y] @ hidden))
        for n in range(objective.negatives):
            place = fasttext_kernel._random(seed, b * objective.negatives + n)
            k = others[np.searchsorted(shares, place, side="right")]
            z = out[k] @ hidden
            loss += np.logaddexp(0, z)
            step = -rate / (1 + np.exp(-z))
            back += step * out[k]
            out[k] += step * hidden
            steps[k] = steps.get(k, 0) + 1
        back += pull * out[y]
        out[y] += pull * hidden
        for i in bag:
            table[i] += back / len(bag)
        losses.append(loss)
        assert y not in steps
    return losses, table, out


@pytest.mark.parametrize("negatives", [1, 5])
def test_negative_sampling_is_descent_with_its_own_draws(negatives: int) -> None:
    loss = NegativeSampling("multiclass", COUNTS, negatives=negatives)
    model = model_of()
    losses, table, out = sampled(model, loss.objective(), ROWS, RATES, 7)
    found = updated(Case(loss, ONE), model, RATES, ROWS, seed=7)
    np.testing.assert_allclose(found, losses, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.embedding.weight.detach(), table, rtol=1e-4, atol=2e-6)
    np.testing.assert_allclose(model.head.weight.detach(), out, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("counts", [[40, 20, 10, 5, 1], [10**9, 1, 1, 1, 1], [0, 3, 0, 5, 1]])
def test_the_mean_of_sampled_losses_is_the_loss_that_takes_the_expectation(counts: list[int]) -> None:
    """Also where one class is nearly all of the noise: its own rows are still held against others."""
    loss, model = NegativeSampling("multiclass", np.array(counts)), model_of()
    times = 4000
    rows = np.tile(np.arange(6), times)
    found = updated(Case(loss, ONE), model, np.zeros(len(rows)), rows, seed=3).astype(np.float64).reshape(times, 6)
    batch = split_of(ONE).batch(np.arange(6))
    expected = loss(model(batch), batch.targets).detach().numpy()
    error = found.std(0) / np.sqrt(times)
    assert (np.abs(found.mean(0) - expected) <= 5 * error + 1e-5).all()


def test_numbers_of_the_generator_are_uniform_and_repeat() -> None:
    found = np.array([fasttext_kernel._random(5, n) for n in range(4000)])
    assert found.min() >= 0
    assert found.max() < 1
    counts = np.bincount((found * 20).astype(int), minlength=20)
    assert ((counts - 200) ** 2 / 200).sum() < 50  # 19 degrees of freedom
    assert abs(np.corrcoef(found[1:], found[:-1])[0, 1]) < 0.06
    assert [fasttext_kernel._random(5, n) for n in range(9)] == found[:9].tolist()
    assert fasttext_kernel._random(6, 0) != found[0]
    assert 0 <= fasttext_kernel._random(2**62, 2**40) < 1


def test_threads_share_the_rows_out() -> None:
    """Few rows are one thread's; of many, each is trained on once, whichever thread has it, and draws do not depend on that."""
    loss = NegativeSampling("multiclass", COUNTS)
    objective, rows = loss.objective(), np.tile(np.arange(6), 100)
    results = []
    for threads in (1, 3):
        update = model_of().fused_update(objective, threads)
        assert not isinstance(update, str)
        results.append(update(split_of(ONE), rows, np.zeros(len(rows), np.float32), objective, 11, 0))
    np.testing.assert_array_equal(*results)
    trained = model_of()
    update = trained.fused_update(Objective("softmax"), 2)
    assert not isinstance(update, str)
    losses = update(split_of(ONE), rows, np.full(len(rows), 0.5, np.float32), Objective("softmax"), 0, 0)
    fed = np.array([bool(bag) for bag in BAGS])[rows]  # a row without ids cannot be learned
    before = updated(CASES["softmax"], model_of(), np.zeros(6), np.arange(6))
    assert losses[fed][-50:].mean() < 0.1 * before[[0, 2, 3, 4, 5]].mean()
    assert losses[~fed] == pytest.approx(np.log(5))


def test_how_rows_are_cut_into_calls_changes_nothing() -> None:
    objective, results = NegativeSampling("multiclass", COUNTS).objective(), []
    for cuts in ([0, 11], [0, 1, 4, 11]):
        model, losses = model_of(), []
        update = model.fused_update(objective, 1)
        assert not isinstance(update, str)
        for a, b in pairwise(cuts):
            losses.append(update(split_of(ONE), ROWS[a:b], RATES[a:b].astype(np.float32), objective, 5, a))
        results.append((np.concatenate(losses), model.embedding.weight.detach().numpy()))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_one_compilation_serves_all_losses_and_labels() -> None:
    before = len(fasttext_kernel.update.signatures)
    for name in ("softmax", "labels", "hierarchical"):
        updated(CASES[name], model_of(CASES[name].head), RATES, ROWS)
    assert len(fasttext_kernel.update.signatures) == max(before, 1)


def test_the_tree_of_the_head_is_that_of_the_kernel() -> None:
    model = model_of("hierarchical")
    assert isinstance(model.head, HierarchicalHead)
    update = _Update(model, fasttext_kernel, 1)
    for c, (path, bits) in enumerate(zip(model.head.tree.paths, model.head.tree.bits, strict=True)):
        own = slice(update._path_starts[c], update._path_starts[c + 1])
        np.testing.assert_array_equal(update._path[own], path)
        np.testing.assert_array_equal(update._bits[own], bits)
