"""What every sampler and every mining option has to satisfy.

A new YAML file under configs/sampler or configs/mining is checked by being there.
"""

from __future__ import annotations

import inspect
import typing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from recipes.config.build import build
from recipes.data.split import TrainSplit
from recipes.data.stores import BagStore, DenseStore
from recipes.errors import ConfigError
from recipes.randomness import generator
from recipes.sampling import Moment, Plan, Sampler, sampled_counts

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SAMPLERS = sorted(p.stem for p in (CONFIGS / "sampler").glob("*.yaml"))
MINING = sorted(p.stem for p in (CONFIGS / "mining").glob("*.yaml"))
# Every option runs with its defaults; settings that change the course of a sampler stand here as well.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in SAMPLERS),
    *(("balanced_batch", {"epoch_size": size}) for size in ("majority", "minority", 37)),
    *(("sqrt", {"epoch_size": size}) for size in ("majority", "minority", 37)),
    *((name, settings) for name in ("random_over", "random_under") for settings in ({"ratio": 0.5}, {"resample_every": "once"})),
    *(("stratified_batch", {"min_per_class": least}) for least in (0, 3)),
    ("repeat_factor", {"threshold": 0.9}),
    ("smote", {"parity": "imblearn"}),
    ("smote", {"ratio": 0.5, "k_neighbors": 1}),
    ("borderline_smote", {"kind": "borderline-2"}),
    ("smote_enn", {"kind": "mode", "parity": "imblearn"}),
    *(("nearmiss", {"version": version}) for version in (2, 3)),
    ("cluster_centroids", {"voting": "hard"}),
]
# Options whose plan need not hold every train row.
LEAVES_OUT = {"cluster_centroids", "cluster_sbc", "enn", "nearmiss", "random_under", "smote_enn", "smote_tomek", "tomek"}
# Options that may find nothing to start from, or do not read such features: then they say what does.
MAY_REFUSE = {"adasyn", "borderline_smote", "kmeans_smote", "rose", "smoten", "smotenc", "svm_smote"}
# Options for tables with categories.
NOMINAL = {"smotenc": "mixed", "smoten": "nominal"}
# Options that deal some rows of the plan never, whatever the epoch.
NEVER_DEALS = {"hard_negatives"}
# Rows of each class, and the batch size.
CASES = {
    "usual": ([70, 25, 5], 16),
    "size divides the rows": ([48, 16], 16),
    "a class of one row": ([30, 1], 8),
    "an empty class": ([20, 0, 6], 8),
    "two rows in total": ([1, 1], 4),
    "fewer rows than a batch": ([5, 3], 64),
    "more classes than a batch holds": ([9, 2, 7, 1, 3, 3, 2, 8, 1, 1, 4, 5], 5),
    "batches of one": ([6, 3], 1),
}
named = {"ids": lambda value: value if isinstance(value, str) else "-".join(f"{k}={v}" for k, v in value.items()) or "default"}


class Reads:
    """A train split that offers nothing but what samplers may read."""

    def __init__(self, train: TrainSplit) -> None:
        self._train = train
        self.labels, self.space, self.layout = train.labels, train.space, train.layout
        self.weights, self.weighted = train.weights, train.weighted

    def __len__(self) -> int:
        return len(self._train)


def make_train(counts: list[int], form: str = "dense", seed: int = 0, weighted: bool = False) -> TrainSplit:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    points = rng.normal(size=(len(labels), 4)).astype(np.float32) + labels[:, None]
    weights = rng.uniform(0.2, 3, len(labels)).astype(np.float32) if weighted else None
    if form == "dense":
        return TrainSplit("train", DenseStore(points, np.zeros((len(labels), 0), np.int64)), labels, weights)
    if form in ("mixed", "nominal"):
        hot = np.eye(3, dtype=np.float32)[rng.integers(0, 3, len(labels))]
        features = np.concatenate([points, hot] if form == "mixed" else [hot], axis=1)
        levels, ends = rng.integers(0, 4, (len(labels), 1)), features.shape[1]
        return TrainSplit("train", DenseStore(features, levels, (4,), ((ends - 3, ends),)), labels, weights)
    ids = np.concatenate([rng.choice(6, 3, replace=False) for _ in labels]).astype(np.int32)
    return TrainSplit("train", BagStore(ids, np.full(len(labels), 3), 6, np.full(len(ids), 3**-0.5, np.float32)), labels, weights)


def make(group: str, name: str, settings: dict[str, Any], counts: list[int], form: str = "dense", task: str | None = None) -> Sampler:
    values = OmegaConf.to_container(OmegaConf.load(CONFIGS / group / f"{name}.yaml"))
    assert isinstance(values, dict)
    facts = {
        "task": task or ("binary" if len(counts) == 2 else "multiclass"),
        "class_names": tuple(f"c{i}" for i in range(len(counts))),
        "num_classes": len(counts),
        "class_counts": np.array(counts),
        "train_rows": sum(counts),
        "sparse_features": form == "tfidf",
        "modality": "text" if form == "tfidf" else "tabular",
    }
    return build(Sampler, values | settings, group, facts)  # type: ignore[arg-type]


class Setup:
    def __init__(self, name: str, settings: dict[str, Any], case: str, form: str = "dense") -> None:
        self.counts, self.size = CASES[case]
        self.train = make_train(self.counts, NOMINAL.get(name, form) if form == "dense" else form, weighted=name == "weighted")
        refusal = ""
        try:
            self.sampler = make("sampler", name, settings, self.counts, form)
            self.plan = self.sampler.resample(Reads(self.train), generator(0, "resample"))  # type: ignore[arg-type]
        except ConfigError as error:
            if name not in MAY_REFUSE:
                raise
            refusal = str(error)
        if refusal:
            assert "; use " in refusal or "sampler=smote grows any class" in refusal  # names a way out
            pytest.skip(refusal.splitlines()[0])
        self.deals = self.train  # what the plan's rows are rows of
        if self.plan.made is not None:
            self.deals = self.train.with_made(self.plan.made.features, self.plan.made.levels, self.plan.made.labels)
        self.labels = self.plan.labels(self.train.labels())
        self.steps = self.sampler.steps_per_epoch(self.plan, self.labels, self.size)

    def epoch(self, epoch: int = 0, total: int = 20) -> list[np.ndarray]:
        """One of `total` epochs."""
        moment = Moment(epoch * self.steps, total * self.steps)
        return list(self.sampler.batches(self.plan, self.labels, self.size, generator(0, "batches", epoch), moment))


every = pytest.mark.parametrize(("name", "settings"), VARIANTS, **named)
everywhere = pytest.mark.parametrize("case", CASES)


@everywhere
@every
@pytest.mark.parametrize("form", ["dense", "tfidf"])
def test_plan_holds_rows_of_the_train_split(name: str, settings: dict[str, Any], case: str, form: str) -> None:
    setup = Setup(name, settings, case, form)
    plan, train = setup.plan, setup.train
    assert plan.rows.dtype == np.int64
    assert plan.rows.min() >= 0
    assert plan.rows.max() < len(setup.deals)
    assert plan.made is None or (plan.train_rows == len(train) and set(range(len(train), len(setup.deals))) <= set(plan.rows))
    assert set(setup.labels) == set(train.labels())  # no class is lost
    real = plan.rows[~plan.synthetic]
    if name in LEAVES_OUT:
        assert len(set(real)) == len(real) or name.startswith("smote_")  # SMOTE repeats the row of a class that has no other
    else:
        assert set(real) == set(range(len(train)))  # every row is still there
    if plan.partners is None:
        assert plan.mix is None
        return
    assert plan.partners.shape == plan.rows.shape
    assert plan.mix is not None
    assert plan.mix.shape == (len(plan), 2)
    assert plan.mix.dtype == np.float32
    assert np.isfinite(plan.mix).all()
    assert (plan.mix >= 0).all()
    np.testing.assert_array_equal(train.labels()[plan.partners], train.labels()[plan.rows])
    np.testing.assert_array_equal(plan.partners[~plan.synthetic], plan.rows[~plan.synthetic])


@everywhere
@every
def test_batches_are_legal(name: str, settings: dict[str, Any], case: str) -> None:
    setup = Setup(name, settings, case)
    batches = setup.epoch()
    assert len(batches) == setup.steps >= 1
    sizes = [len(b) for b in batches]
    assert [[len(b) for b in setup.epoch(e)] for e in (1, 10, 20)] == [sizes] * 3  # the length of the training is known before it
    assert [len(b) for b in batches[:-1]] == [setup.size] * (len(batches) - 1)
    assert 1 <= len(batches[-1]) <= setup.size
    for positions in batches:
        assert positions.dtype == np.int64
        assert positions.min() >= 0
        assert positions.max() < len(setup.plan)
        mixed = () if setup.plan.partners is None else (setup.plan.partners[positions], setup.plan.mix[positions])  # type: ignore[index]
        batch = setup.deals.batch(setup.plan.rows[positions], *mixed)
        np.testing.assert_array_equal(batch.targets.numpy(), setup.labels[positions])


@everywhere
@every
def test_streams_depend_on_the_generator_alone(name: str, settings: dict[str, Any], case: str) -> None:
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first, second = Setup(name, settings, case), Setup(name, settings, case)
    for a, b in ((first.plan.rows, second.plan.rows), (first.plan.partners, second.plan.partners), (first.plan.mix, second.plan.mix)):
        np.testing.assert_array_equal(a, b)
    # Epochs are drawn in another order the second time, as a resumed run does.
    later = [np.concatenate(second.epoch(e)) for e in (2, 1, 0)]
    for epoch in (0, 1, 2):
        np.testing.assert_array_equal(np.concatenate(first.epoch(epoch)), later[2 - epoch])
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


@everywhere
@every
def test_epochs_differ(name: str, settings: dict[str, Any], case: str) -> None:
    setup = Setup(name, settings, case)
    assert len({np.concatenate(setup.epoch(e)).tobytes() for e in range(20)}) > 1


@every
def test_every_sample_comes_in_time(name: str, settings: dict[str, Any]) -> None:
    if name in NEVER_DEALS:
        return
    setup, seen = Setup(name, settings, "usual"), set[int]()
    for epoch in range(400):
        seen.update(np.concatenate(setup.epoch(epoch, 400)).tolist())
        if len(seen) == len(setup.plan):
            return
    raise AssertionError(f"{len(setup.plan) - len(seen)} of {len(setup.plan)} samples were dealt in none of 400 epochs")


@everywhere
@every
def test_skipping_resumes_the_stream(name: str, settings: dict[str, Any], case: str) -> None:
    setup = Setup(name, settings, case)
    whole = setup.epoch(3)
    for done in {0, 1, len(whole) // 2, len(whole)}:
        moment = Moment(3 * setup.steps, 20 * setup.steps)
        stream = setup.sampler.batches(setup.plan, setup.labels, setup.size, generator(0, "batches", 3), moment)
        rest = list(islice(stream, done, None))
        assert len(rest) == len(whole) - done
        for a, b in zip(rest, whole[done:], strict=True):
            np.testing.assert_array_equal(a, b)


@everywhere
@every
def test_sampled_counts_are_those_of_an_epoch(name: str, settings: dict[str, Any], case: str) -> None:
    setup = Setup(name, settings, case)
    found = sampled_counts(setup.sampler, setup.plan, setup.labels, setup.size, generator(0, "batches", 0), len(setup.counts))
    dealt = [int(setup.labels[i]) for positions in setup.epoch() for i in positions]
    assert found.dtype == np.int64
    assert found.tolist() == [dealt.count(c) for c in range(len(setup.counts))]


@every
def test_data_is_left_as_it_was(name: str, settings: dict[str, Any]) -> None:
    setup, form = Setup(name, settings, "usual"), NOMINAL.get(name, "dense")
    untouched = make_train(CASES["usual"][0], form)
    setup.epoch()
    np.testing.assert_array_equal(setup.train.labels(), untouched.labels())
    np.testing.assert_array_equal(setup.train.space(), untouched.space())


@pytest.mark.parametrize("name", SAMPLERS)
def test_only_the_train_split_is_accepted(name: str) -> None:
    sampler = make("sampler", name, {}, [3, 3])
    assert typing.get_type_hints(type(sampler).resample, localns={"TrainSplit": TrainSplit})["train"] is TrainSplit
    for method in ("resample", "steps_per_epoch", "batches", "select"):  # no way in for another split
        assert list(inspect.signature(getattr(type(sampler), method)).parameters) == list(
            inspect.signature(getattr(Sampler, method)).parameters
        )


@pytest.mark.parametrize("name", SAMPLERS)
def test_multilabel_is_dealt_or_refused(name: str) -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((60, 3)) < [0.6, 0.2, 0.05]).astype(np.float32)
    weights = np.ones(60, np.float32) if name == "weighted" else None
    train = TrainSplit("train", DenseStore(rng.normal(size=(60, 2)).astype(np.float32), np.zeros((60, 0), np.int64)), targets, weights)
    sampler, refusal = None, ""
    try:
        sampler = make("sampler", name, {}, [36, 12, 3], task="multilabel")
    except ConfigError as error:
        refusal = str(error)
    if sampler is None:
        assert "multi-label" in refusal
        assert "sampler=" in refusal  # names a way out
        return
    plan = sampler.resample(train, generator(0, "resample"))
    batches = list(sampler.batches(plan, targets[plan.rows], 8, generator(0, "batches")))
    assert len(batches) == sampler.steps_per_epoch(plan, targets[plan.rows], 8)
    dealt = targets[plan.rows[np.concatenate(batches)]]
    counted = sampled_counts(sampler, plan, targets[plan.rows], 8, generator(0, "batches"), 3)
    assert counted.tolist() == dealt.sum(axis=0).tolist()


@pytest.mark.parametrize(
    ("group", "name", "settings"),
    [
        *(("sampler", n, {}) for n in SAMPLERS),
        *(("mining", n, {}) for n in MINING),
        ("mining", "ohem", {"negatives_per_positive": 1}),
        ("mining", "ohem", {"negatives_per_positive": 3, "drop_top": 0.2}),
    ],
    **named,
)
@pytest.mark.parametrize("size", [1, 2, 3, 64])
def test_selection(group: str, name: str, settings: dict[str, Any], size: int) -> None:
    sampler = make(group, name, settings, [5, 5])
    losses = torch.rand(size, generator=torch.Generator().manual_seed(0), requires_grad=True)
    targets = torch.arange(size) % 2
    keep = sampler.select(losses.detach(), targets, 10)
    if not sampler.mines:
        assert keep is None
        return
    assert keep is not None
    assert keep.dtype == torch.bool
    assert keep.shape == (size,)
    assert keep.any()
    order = torch.randperm(size, generator=torch.Generator().manual_seed(1))
    shuffled = sampler.select(losses.detach()[order], targets[order], 10)
    assert shuffled is not None
    assert torch.equal(shuffled, keep[order])  # the order within a batch means nothing


@pytest.mark.parametrize("name", MINING)
def test_mining_leaves_the_stream_to_the_sampler(name: str) -> None:
    mining = make("mining", name, {}, [5, 5])
    assert type(mining).resample is Sampler.resample
    assert type(mining).batches is Sampler.batches
    assert mining.mines == (name != "none")


def test_identity_plan() -> None:
    plan = Sampler().resample(make_train([4, 2]), generator(0, "resample"))
    assert isinstance(plan, Plan)
    assert plan.rows.tolist() == list(range(6))
    assert not plan.synthetic.any()
