"""What every augmentation must do; an option of configs/augment is covered by being there.

B batch, T tokens, C classes or labels.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor
from torch.nn import functional

from recipes.augmentation import Augment
from recipes.config import build, settings_of
from recipes.data.batch import Batch
from recipes.data.split import TrainSplit
from recipes.data.stores import BagStore, DenseStore, SequenceStore
from recipes.errors import ConfigError
from recipes.models import MLP, FastText, Model, TextCNN
from recipes.randomness import generator

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "augment"
OPTIONS = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
# Every option runs with its defaults; settings that change its course stand here as well.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((option, {}) for option in OPTIONS),
    *((option, {"only": ["c1"]}) for option in ("random_deletion", "gaussian_noise")),
    ("random_swap", {"alpha": 1.0, "probability": 0.5}),
    ("synonym", {"alpha": 0.9, "stop_words": "none"}),
    ("random_insertion", {"alpha": 1.0, "only": "minority"}),
    ("eda", {"probability": 1.0, "alpha_ri": 0.7, "alpha_rd": 0.8}),
    ("mixup", {"alpha": 2.0}),
    ("manifold_mixup", {"layers": ["hidden"]}),
    ("remix", {"kappa": 1.0, "tau": 1.0}),
]
FORMS = ("sequence", "bag", "tfidf", "dense")
WORDS = ("", "<unk>", *(f"w{chr(97 + i)}" for i in range(18)))
LENGTHS = [5, 0, 1, 9, 3, 2, 7, 4, 12, 6]
CLASSES = ("c0", "c1", "c2")
COUNTS = np.array([6, 3, 1])

# Forms of rows that an option is for; one that does not stand here is for all.
TEXTS = ("random_deletion", "random_swap", "synonym", "random_insertion", "eda")
FITS = {**dict.fromkeys(TEXTS, ("sequence", "bag")), "gaussian_noise": ("dense",)}
CASES = [
    pytest.param(option, settings, form, id="-".join([option, form, *(f"{k}={v}" for k, v in settings.items())]))
    for option, settings in VARIANTS
    for form in FITS.get(option, FORMS)
]
every = pytest.mark.parametrize(("option", "settings", "form"), CASES)


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("augment") / "synonyms.tsv"
    path.write_text("".join(f"{a}\t{b}, {c}\n" for a, b, c in zip(WORDS[2:], WORDS[3:], WORDS[4:], strict=False)), encoding="utf-8")
    return str(path)


def make(option: str, settings: dict[str, Any], form: str, lexicon: str, task: str = "multiclass") -> Augment:
    """The option as its file describes it."""
    values = yaml.safe_load((CONFIGS / f"{option}.yaml").read_text(encoding="utf-8")) | settings
    if "lexicon" in values:
        values["lexicon"] = lexicon
    facts = {
        "task": task,
        "class_names": CLASSES,
        "class_counts": COUNTS,
        "vocabulary": WORDS,
        "form": form,
        "tokenizer": "word",
        "continuous": np.array([True, True, False, True]),
    }
    return build(Augment, values, "augment", facts)


def split(form: str, task: str = "multiclass", lengths: list[int] = LENGTHS) -> TrainSplit:
    rng = np.random.default_rng(0)
    rows = len(lengths)
    targets = (rng.random((rows, 3)) < 0.4).astype(np.float32) if task == "multilabel" else np.arange(rows) % 3
    sizes, total = np.array(lengths), sum(lengths)
    if form == "dense":
        return TrainSplit("train", DenseStore(rng.normal(size=(rows, 4)).astype(np.float32), np.zeros((rows, 0), np.int64)), targets)
    ids = rng.integers(2, len(WORDS), size=total).astype(np.int32)
    if form == "sequence":
        return TrainSplit("train", SequenceStore(np.append(ids, np.int32(0)), sizes, len(WORDS)), targets)
    values = rng.random(total).astype(np.float32) if form == "tfidf" else None
    return TrainSplit("train", BagStore(ids, sizes, len(WORDS), values), targets)


def batch_of(form: str, task: str = "multiclass", lengths: list[int] = LENGTHS) -> Batch:
    return split(form, task, lengths).batch(np.arange(len(lengths)))


def model_of(form: str) -> Model:
    torch.manual_seed(0)
    facts = {"num_classes": 3, "task": "multiclass", "class_counts": COUNTS, "train_rows": 10}
    words = {"vocab_size": len(WORDS), "dim": 6}
    model: Model
    if form == "sequence":
        model = TextCNN(**facts, **words, vocabulary=WORDS, maps=4, widths=[2, 3])  # type: ignore[arg-type]
    elif form == "bag":
        model = FastText(**facts, **words, vocabulary=WORDS, word_ngrams=1, sparse=False, init="xavier_normal")  # type: ignore[arg-type]
    else:
        features = 4 if form == "dense" else len(WORDS)
        model = MLP(**facts, num_features=features, category_sizes=(), sparse_features=form == "tfidf", widths=[5])  # type: ignore[arg-type]
    return model.eval()


def tensors(batch: Batch | None) -> dict[str, Any]:
    """Every field, those of the partner included."""
    found: dict[str, Any] = {}
    for field in fields(Batch) if batch is not None else ():
        value = getattr(batch, field.name)
        found |= {f"partner.{k}": v for k, v in tensors(value).items()} if field.name == "partner" else {field.name: value}
    return found


def assert_equal(first: Batch, second: Batch) -> None:
    ones, others = tensors(first), tensors(second)
    assert ones.keys() == others.keys()
    for name, one in ones.items():
        other = others[name]
        assert torch.equal(one, other) if isinstance(one, Tensor) else one == other, name


def is_legal(batch: Batch) -> None:
    size = len(batch)
    assert batch.rows.dtype == torch.int64
    assert len(batch.targets) == len(batch.weights) == size
    if batch.tokens_BT is not None:
        assert batch.lengths_B is not None
        assert batch.tokens_BT.dtype == batch.lengths_B.dtype == torch.int64
        assert batch.tokens_BT.shape[1] >= max(1, int(batch.lengths_B.max()))
        assert torch.equal((batch.tokens_BT != 0).sum(dim=1), batch.lengths_B)
        assert torch.equal(batch.tokens_BT != 0, torch.arange(batch.tokens_BT.shape[1]) < batch.lengths_B[:, None])
    if batch.ids is not None:
        assert batch.offsets is not None
        assert batch.ids.dtype == batch.offsets.dtype == torch.int64
        assert len(batch.offsets) == size + 1
        assert batch.offsets[0] == 0
        assert batch.offsets[-1] == len(batch.ids)
        assert (batch.offsets.diff() >= 0).all()
        assert ((batch.ids > 1) & (batch.ids < len(WORDS))).all()
    if batch.features_BF is not None:
        assert batch.features_BF.dtype == torch.float32
        assert batch.features_BF.isfinite().all()


@every
def test_batches_are_legal_and_keep_rows_and_labels(option: str, settings: dict[str, Any], form: str, lexicon: str) -> None:
    augment, before = make(option, settings, form, lexicon), batch_of(form)
    for seed in range(20):
        after = augment(before, generator(seed, "augment"))
        is_legal(after)
        for name in ("rows", "targets", "weights"):
            assert torch.equal(getattr(after, name), getattr(before, name))
        if after.partner is None:
            assert after.share_B is None
            continue
        is_legal(after.partner)
        assert after.mix_B2 is not None
        assert after.share_B is not None
        assert after.mix_B2.dtype == after.share_B.dtype == torch.float32
        for share in (after.mix_B2, after.share_B):
            assert ((share >= 0) & (share <= 1)).all()
        np.testing.assert_allclose(after.mix_B2.sum(dim=1), 1, atol=1e-6)


@every
def test_something_changes_unless_it_says_so_and_never_what_is_given(
    option: str, settings: dict[str, Any], form: str, lexicon: str
) -> None:
    augment, given = make(option, settings, form, lexicon), split(form)
    batch = given.batch(np.arange(len(given)))
    kept = batch.take(torch.arange(len(batch)))
    changed = False
    for seed in range(20):
        after = tensors(augment(batch, generator(seed, "augment")))
        before = tensors(batch)
        changed |= any(not (torch.equal(after[k], v) if isinstance(v, Tensor) else after[k] == v) for k, v in before.items())
        changed |= after.keys() != before.keys()
    assert changed == augment.changes == (option != "none")
    assert_equal(batch, kept)
    assert_equal(given.batch(np.arange(len(given))), batch_of(form))
    # What changes the look of a class's rows is no mere change of its share.
    assert (augment.approximate is not None) == augment.changes


@every
def test_draws_depend_on_the_generator_alone(option: str, settings: dict[str, Any], form: str, lexicon: str) -> None:
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first, second = (make(option, settings, form, lexicon) for _ in range(2))
    results = [first(batch_of(form), generator(0, "augment", step)) for step in (0, 1, 2)]
    for step in (2, 0, 1):  # in another order, as a resumed run does
        assert_equal(second(batch_of(form), generator(0, "augment", step)), results[step])
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


@every
def test_models_read_what_comes_out_whole_or_in_pieces(option: str, settings: dict[str, Any], form: str, lexicon: str) -> None:
    augment, model = make(option, settings, form, lexicon), model_of(form)
    for seed in range(5):
        batch = augment(batch_of(form), generator(seed, "augment"))
        logits_BC = model(batch)
        assert logits_BC.isfinite().all()
        functional.cross_entropy(logits_BC, batch.targets).backward()
        pieces = torch.cat([model(batch.take(piece)) for piece in torch.arange(len(batch)).split(3)])
        torch.testing.assert_close(pieces, logits_BC, rtol=1e-5, atol=1e-6)


@every
@pytest.mark.parametrize("lengths", [[0], [1], [6], [0, 0], [0, 30, 1]], ids=str)
def test_small_and_empty_windows(option: str, settings: dict[str, Any], form: str, lexicon: str, lengths: list[int]) -> None:
    augment, model = make(option, settings, form, lexicon), model_of(form)
    for seed in range(5):
        after = augment(batch_of(form, lengths=lengths), generator(seed, "augment"))
        is_legal(after)
        assert model(after).isfinite().all()
        if form in ("sequence", "bag"):
            sizes = after.lengths_B if after.offsets is None else after.offsets.diff()
            assert sizes is not None
            assert [bool(size) for size in sizes] == [bool(length) for length in lengths]  # no text vanishes or comes from nothing


@every
def test_rows_with_several_labels_are_changed_or_refused(option: str, settings: dict[str, Any], form: str, lexicon: str) -> None:
    if option == "remix":
        with pytest.raises(ConfigError, match="multi-label; use augment="):
            make(option, settings, form, lexicon, task="multilabel")
        return
    augment, batch = make(option, settings, form, lexicon, task="multilabel"), batch_of(form, "multilabel")
    after = augment(batch, generator(0, "augment"))
    is_legal(after)
    assert torch.equal(after.targets, batch.targets)


def shown(batch: Batch | None) -> dict[str, Any]:
    """Every field on the host, without columns of padding alone, which a device is not asked for."""
    found = {name: value.cpu() if isinstance(value, Tensor) else value for name, value in tensors(batch).items()}
    for name, value in found.items():
        if name.endswith("tokens_BT") and value is not None:
            found[name] = value[:, : max(1, int((value != 0).sum(dim=1).max()))]
    return found


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("form", FORMS)
def test_a_device_sees_what_the_host_sees(form: str, lexicon: str) -> None:
    rows = split(form)
    far = rows.to("cuda")
    for option, settings in VARIANTS:
        if form not in FITS.get(option, FORMS):
            continue
        augment = make(option, settings, form, lexicon)
        for seed in range(5):
            here, there = (shown(augment(s.batch(np.arange(len(s))), generator(seed, "augment"))) for s in (rows, far))
            assert here.keys() == there.keys()
            for name, value in here.items():
                assert torch.equal(value, there[name]) if isinstance(value, Tensor) else value == there[name], (option, name)


@pytest.mark.parametrize(("option", "form"), [(option, form) for option in FITS for form in (*FORMS, "ngrams") if form not in FITS[option]])
def test_other_forms_are_refused_with_a_way_out(option: str, form: str, lexicon: str) -> None:
    with pytest.raises(ConfigError, match=rf"augment={option}: .*(choose augment=\w+|model\.\w+=)"):
        make(option, {}, form, lexicon)


@pytest.mark.parametrize("option", OPTIONS)
def test_settings_are_described(option: str) -> None:
    """Each line of an option's file says what its setting does."""
    text = (CONFIGS / f"{option}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# ")
    for line in text.splitlines()[2:]:
        assert "#" in line, line
    values = yaml.safe_load(text)
    module, _, name = values.pop("_target_").rpartition(".")
    assert module == "recipes.augmentation"
    cls = getattr(__import__(module, fromlist=[name]), name)
    assert {key: default for key, (_, default) in settings_of(cls).items()} == values
