"""What every model must do; an option of configs/model is covered by being there.

B batch, T tokens, C classes or labels.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor
from torch.nn import functional

from recipes.config import build, resolve, settings_of
from recipes.config.types import Range
from recipes.data.batch import Batch
from recipes.data.facts import Facts, Needs, Task
from recipes.data.split import TrainSplit
from recipes.data.stores import BagStore, DenseStore, SequenceStore, Store
from recipes.models import Model

# `pretrained` starts from a directory of weights: tests/models/test_pretrained.py holds it to the same.
OPTIONS = sorted(p for p in (Path(__file__).resolve().parents[2] / "configs" / "model").glob("*.yaml") if p.stem != "pretrained")
TASKS: tuple[Task, ...] = ("binary", "multiclass", "multilabel")
LENGTHS = [5, 0, 1, 9, 3, 2, 7, 4]  # words of each text: an empty one, and some shorter than a filter
WORDS = ("", "<unk>", *(f"w{i}" for i in range(14)), ".", "!", "?", ";")  # some end a sentence
BUCKETS = 11
COSINE = {"head": "cosine"}
TREE = {"head": "hierarchical"}  # one distribution: not for several labels a row
STATIC, FROZEN = {"mode": "static", "vectors": "@vectors"}, {"vectors": "@vectors", "freeze": True}
SEQUENCES = ("textrnn", "textrcnn", "han", "dpcnn", "transformer")
# Settings that change the course of a model. `@vectors` stands for a file that the tests write.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "textcnn": [
        *({"mode": mode, "vectors": "@vectors"} for mode in ("static", "nonstatic", "multichannel")),
        {"widths": [1, 7, 2]},
        COSINE,
    ],
    "fasttext": [
        {"sparse": False, "bias_init": "prior", "init": "orthogonal"},
        {"vectors": "@vectors", "dim": 5, "minn": 2, "maxn": 3},
        TREE,
        COSINE,
    ],
    "textrnn": [
        {"cell": "gru", "pooling": "mean", "bidirectional": False},
        {"pooling": "last", "layers": 2},
        {"pooling": "attention"},
        {"vectors": "@vectors", "freeze": True},
        COSINE,
    ],
    "textrcnn": [{"cell": "rnn"}, {"cell": "gru", "sparse": True}, COSINE],
    "han": [{"max_sentence": 3, "vectors": "@vectors", "freeze": True, "unfreeze": "2 steps"}, COSINE],
    "dpcnn": [{"halvings": 0}, {"vectors": "@vectors"}, COSINE],
    "transformer": [{"pooling": "cls", "positions": "sinusoidal", "dim": 5}, {"max_positions": 4, "sparse": True}, COSINE],
    "mlp": [{"norm": "batch"}, {"norm": "layer", "residual": True}, {"widths": []}, {"widths": [5, 7], "activation": "gelu"}, COSINE],
}
# What another value of a setting needs beside it, or the other value where none can be guessed from the type.
OTHERS: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("textcnn", "vectors"): [{"vectors": "@vectors", "mode": "static"}],
    ("textcnn", "mode"): VARIANTS["textcnn"][:3],
    ("textcnn", "max_norm"): [{"max_norm": 0.01}],
    ("textcnn", "unfreeze"): [{**STATIC, "unfreeze": "2 steps"}],
    ("transformer", "width"): [{"width": 8}],
    ("transformer", "heads"): [{"heads": 2}],
    **{(option, "vectors"): [{"vectors": "@vectors"}] for option in SEQUENCES},
    **{(option, "freeze"): [FROZEN] for option in SEQUENCES},
    **{(option, "unfreeze"): [{**FROZEN, "unfreeze": "2 steps"}] for option in SEQUENCES},
    **{(option, "sparse"): [{"sparse": True}] for option in ("textcnn", *SEQUENCES)},
    **{(option, "scale"): [{"head": "cosine", "scale": 3.0}] for option in VARIANTS},
    ("fasttext", "init"): [{"init": "orthogonal"}, {"init": "he_normal"}],
    ("fasttext", "vectors"): [{"vectors": "@vectors", "dim": 5}],
    ("fasttext", "minn"): [{"minn": 1, "maxn": 3}, {"minn": 3, "maxn": 3}],
    ("fasttext", "maxn"): [{"minn": 2, "maxn": 2}, {"minn": 2, "maxn": 4}],
}

# What a setting is compared within, where the default setting of another would hide it.
WITHIN: dict[tuple[str, str], dict[str, Any]] = {
    ("textcnn", "unfreeze"): STATIC,
    **{(option, "freeze"): {"vectors": "@vectors"} for option in SEQUENCES},
    **{(option, "unfreeze"): FROZEN for option in SEQUENCES},
    **{(p.stem, "scale"): COSINE for p in OPTIONS},
    **{("fasttext", name): {"minn": 2, "maxn": 3} for name in ("minn", "maxn")},
    ("fasttext", "vectors"): {"dim": 5},
}


@dataclass
class Case:
    """A data set that a model may meet."""

    facts: Facts
    store: Store

    def split(self) -> TrainSplit:
        return TrainSplit("train", self.store, targets(self.facts.task, len(self.store)), num_classes=self.facts.num_classes)

    def batch(self) -> Batch:
        return self.split().batch(np.arange(len(self.store)))


def targets(task: Task, rows: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    if task == "multilabel":
        return (rng.random((rows, 3)) < 0.4).astype(np.float32)
    return np.arange(rows) % (2 if task == "binary" else 3)


def cases(needs: Needs, task: Task) -> dict[str, Case]:
    """Every kind of data that can meet these needs."""
    rng = np.random.default_rng(1)
    names = ("no", "yes") if task == "binary" else ("a", "b", "c")
    facts = Facts(task, "text", names, np.array([6, 2] if task == "binary" else [5, 2, 1]), 8)
    lengths, total = np.array(LENGTHS), sum(LENGTHS)
    if needs.representation == "tokens":
        facts = replace(facts, vocab_size=len(WORDS) + (BUCKETS if needs.word_ngrams > 1 else 0), vocabulary=WORDS)
        ids = rng.integers(1, facts.vocab_size, total + 1).astype(np.int32)
        ids[-1] = 0
        if needs.form == "bag":
            return {"bags": Case(facts, BagStore(ids[:-1], lengths, len(WORDS)))}
        return {"sequences": Case(facts, SequenceStore(ids, lengths, len(WORDS)))}
    numbers = rng.standard_normal((8, 4)).astype(np.float32)
    levels, sizes = np.stack([rng.integers(0, 3, 8), rng.integers(0, 9, 8)], axis=1), (3, 9)
    tabular, tfidf = replace(facts, modality="tabular", num_features=4), replace(facts, num_features=20, sparse_features=True)
    bags = BagStore(rng.integers(0, 20, total).astype(np.int32), lengths, 20, rng.random(total).astype(np.float32))
    return {
        "numbers": Case(tabular, DenseStore(numbers, levels[:, :0])),
        "categories": Case(replace(tabular, category_sizes=sizes), DenseStore(numbers, levels, sizes)),
        "tfidf": Case(tfidf, bags),
    }


def settings(option: str, **changed: Any) -> dict[str, Any]:
    path = next(p for p in OPTIONS if p.stem == option)
    return {**yaml.safe_load(path.read_text(encoding="utf-8")), **changed}


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Vectors of five numbers for half of the words."""
    path = tmp_path_factory.mktemp("vectors") / "words.vec"
    rows = np.random.default_rng(2).standard_normal((10, 5))
    path.write_text("10 5\n" + "\n".join(f"w{2 * i} {' '.join(f'{x:.4f}' for x in row)}" for i, row in enumerate(rows)), encoding="utf-8")
    return str(path)


def make(option: str, changed: dict[str, Any], case: Case, vectors: str, seed: int = 0) -> Model:
    chosen = {key: vectors if value == "@vectors" else value for key, value in changed.items()}
    torch.manual_seed(seed)
    return build(Model, settings(option, **chosen), "model", facts=case.facts.as_dict())


def needs_of(option: str, changed: dict[str, Any]) -> Needs:
    chosen = settings(option, **changed)
    return resolve(Model, chosen, "model").needs(chosen)


def step(model: Model, batch: Batch, task: Task, rate: float = 0.5) -> dict[str, Tensor]:
    """One update by plain gradient descent; returns the gradients by name."""
    logits_BC = model(batch)
    loss = functional.binary_cross_entropy_with_logits if task == "multilabel" else functional.cross_entropy
    model.zero_grad()
    loss(logits_BC, batch.targets).backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name in found:
                p.sub_(rate * (found[name].to_dense() if found[name].is_sparse else found[name]))
    model.after_step()
    return found


@dataclass
class Built:
    """A model of an option and the data that it was built for."""

    option: str
    changed: dict[str, Any]
    case: Case
    model: Model

    @property
    def tolerance(self) -> float:
        """Absolute, of single precision: a cosine head multiplies rounding by its scale, and logits may well be zero."""
        if self.changed.get("head") == "cosine":
            return 3e-5
        return 5e-6 if self.option == "transformer" else 1e-6


PAIRS = [(p.stem, changed) for p in OPTIONS for changed in [{}, *VARIANTS.get(p.stem, [])]]
ALL = [
    (option, changed, task, kind)
    for option, changed in PAIRS
    for task in TASKS
    if not (changed == TREE and task == "multilabel")
    for kind in cases(needs_of(option, changed), task)
]
NAMES = [f"{option}-{','.join(f'{k}={v}' for k, v in changed.items()) or 'default'}-{task}-{kind}" for option, changed, task, kind in ALL]


@pytest.fixture(params=ALL, ids=NAMES)
def built(request: pytest.FixtureRequest, vectors: str) -> Built:
    option, changed, task, kind = request.param
    case = cases(needs_of(option, changed), task)[kind]
    return Built(option, changed, case, make(option, changed, case, vectors))


def test_it_learns_and_every_trainable_weight_has_a_finite_gradient(built: Built) -> None:
    model, batch, task = built.model.train(), built.case.batch(), built.case.facts.task
    assert model(batch).shape == (8, built.case.facts.num_classes)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    for _ in range(2):  # fastText's output starts at zero, so its first step leaves the words as they are
        gradients = step(model, batch, task)
        assert gradients.keys() == {name for name, p in model.named_parameters() if p.requires_grad}
        for gradient in gradients.values():
            assert torch.isfinite(gradient.to_dense() if gradient.is_sparse else gradient).all()
    for name, p in model.named_parameters():
        assert torch.equal(p, start[name]) != p.requires_grad, name


def test_the_same_seed_gives_the_same_bits(built: Built, vectors: str) -> None:
    def run() -> Tensor:
        model = make(built.option, built.changed, built.case, vectors).train()
        for _ in range(2):
            step(model, built.case.batch(), built.case.facts.task)
        return model.eval()(built.case.batch())

    first = run()
    assert torch.equal(first, run())
    assert torch.isfinite(first).all()


def test_a_row_does_not_see_the_others(built: Built) -> None:
    """Nor, therefore, the padding that a longer text beside it brings."""
    model, split = built.model, built.case.split()
    step(model.train(), built.case.batch(), built.case.facts.task)
    model.eval()
    together = model(split.batch(np.arange(8)))
    alone = torch.cat([model(split.batch(np.array([i]))) for i in range(8)])
    torch.testing.assert_close(alone, together, rtol=1e-6, atol=built.tolerance)
    order = np.array([3, 0, 7, 1, 1, 6])
    torch.testing.assert_close(model(split.batch(order)), together[torch.from_numpy(order)], rtol=1e-6, atol=built.tolerance)


PADDED = [(i, name) for i, name in enumerate(NAMES) if ALL[i][3] == "sequences"]


@pytest.mark.parametrize("built", [ALL[i] for i, _ in PADDED], ids=[name for _, name in PADDED], indirect=True)
def test_more_padding_changes_nothing(built: Built) -> None:
    batch, model = built.case.batch(), built.model.eval()
    expected = model(batch)
    assert batch.tokens_BT is not None
    batch.tokens_BT = functional.pad(batch.tokens_BT, (0, 6))
    torch.testing.assert_close(model(batch), expected, rtol=1e-6, atol=built.tolerance)


def test_training_on_a_single_row_works(built: Built) -> None:
    split, task = built.case.split(), built.case.facts.task
    for row in (0, 1):  # 1 is the empty text
        step(built.model.train(), split.batch(np.array([row])), task)
    assert torch.isfinite(built.model.eval()(built.case.batch())).all()


def mixed(case: Case, mix: list[float], swap: bool = False) -> Batch:
    """Rows 0..5, each with the row two further on."""
    rows, partners = np.arange(6), np.arange(6) + 2
    coefficients = np.tile(np.array(mix, dtype=np.float32), (6, 1))
    return case.split().batch(*((partners, rows, coefficients[:, ::-1].copy()) if swap else (rows, partners, coefficients)))


def test_mixtures(built: Built) -> None:
    model, case = built.model, built.case
    step(model.train(), case.batch(), case.facts.task)
    model.eval()
    plain = model(case.split().batch(np.arange(6)))
    torch.testing.assert_close(model(mixed(case, [1.0, 0.0])), plain, rtol=1e-6, atol=built.tolerance)
    # One row with the others' coefficient not zero: the split keeps the partner, whose own (1, 0) rows must not feel it.
    half = mixed(case, [0.7, 0.3])
    assert half.mix_B2 is not None
    half.mix_B2[1:] = torch.tensor([1.0, 0.0])
    torch.testing.assert_close(model(half)[1:], plain[1:], rtol=1e-6, atol=built.tolerance)
    assert not torch.allclose(model(half)[:1], plain[:1])
    torch.testing.assert_close(model(mixed(case, [0.7, 0.3])), model(mixed(case, [0.7, 0.3], swap=True)), rtol=1e-6, atol=built.tolerance)
    gradients = step(model.train(), mixed(case, [0.7, 0.3]), case.facts.task)
    assert all(torch.isfinite(g.to_dense() if g.is_sparse else g).all() for g in gradients.values())


def test_a_mixture_is_linear_where_the_model_embeds(built: Built) -> None:
    model, batch = built.model.eval(), mixed(built.case, [0.7, 0.3])
    assert batch.partner is not None
    hidden = 0.7 * model.embed(batch) + 0.3 * model.embed(batch.partner)
    torch.testing.assert_close(model(batch), model.classify(hidden, batch), rtol=1e-6, atol=built.tolerance)


def test_a_mixture_of_hidden_features_is_linear_where_the_head_reads(built: Built) -> None:
    """Each of the two rows is encoded as it is alone, whatever the length of the other."""
    model, split, batch = built.model.eval(), built.case.split(), mixed(built.case, [0.7, 0.3])
    batch.mix_at = "hidden"
    rows, partners = (split.batch(np.arange(6) + shift) for shift in (0, 2))
    first, second = (model.encode(model.embed(b), b) for b in (rows, partners))
    torch.testing.assert_close(model(batch), model.head(0.7 * first + 0.3 * second), rtol=1e-6, atol=built.tolerance)


def test_float64(built: Built) -> None:
    single = built.model.eval()(built.case.batch())
    double = built.model.double()(built.case.batch())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, rtol=1e-5, atol=10 * built.tolerance)


def test_a_saved_model_needs_no_file(built: Built) -> None:
    step(built.model.train(), built.case.batch(), built.case.facts.task)
    weights = built.model.state_dict()
    gone = {key: "/no/such/file.vec" if value == "@vectors" else value for key, value in built.changed.items()}
    cls = resolve(Model, settings(built.option), "model")
    chosen = cls.inference_settings(settings(built.option, **gone), weights)
    restored = build(Model, chosen, "model", facts=built.case.facts.as_dict())
    restored.load_state_dict(weights)
    assert torch.equal(restored.eval()(built.case.batch()), built.model.eval()(built.case.batch()))


def others(option: str, name: str, annotation: Any, default: Any) -> list[dict[str, Any]]:
    """Settings in which `name` has another value than its default."""
    if (option, name) in OTHERS:
        return OTHERS[option, name]
    return [{name: value} for value in _values(annotation) if value != default]


def _values(annotation: Any) -> list[Any]:
    """Some values that an annotation admits."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        bounds = next((m for m in args[1:] if isinstance(m, Range)), Range())
        return [v for v in _values(args[0]) if isinstance(v, list) or bounds.admits(v)]
    if origin in (typing.Union, types.UnionType):
        return [v for a in args if a is not type(None) for v in _values(a)]
    if origin is Literal:
        return list(args)
    return {bool: [True, False], int: [3], float: [0.3], list: [[2, 2]]}[origin or annotation]


SETTINGS = [(p.stem, name) for p in OPTIONS for name in settings_of(resolve(Model, settings(p.stem), "model"))]


@pytest.mark.parametrize(("option", "name"), SETTINGS, ids=lambda x: x)
def test_every_setting_is_observed(option: str, name: str, vectors: str) -> None:
    """Another value changes what is learnt in three steps on some data, the layout of gradients, or what the data room is asked for."""
    annotation, default = settings_of(resolve(Model, settings(option), "model"))[name]
    changes = others(option, name, annotation, default)
    assert changes, f"{option}.{name}: no other value is known"

    def outcome(changed: dict[str, Any], kind: str) -> tuple[Any, ...]:
        case = cases(needs_of(option, changed), "multiclass").get(kind)
        if case is None:
            return ("other data",)
        model = make(option, changed, case, vectors).train()
        for number in range(3):
            model.before_step(number, 3, 3)
            gradients = step(model, case.batch(), "multiclass")
        return needs_of(option, changed), [g.is_sparse for g in gradients.values()], model.eval()(case.batch()).tolist()

    for changed in changes:
        kinds = cases(needs_of(option, {}), "multiclass")
        plain = WITHIN.get((option, name), {})
        assert any(outcome(changed, kind) != outcome(plain, kind) for kind in kinds), f"{option}: {changed} changes nothing"
