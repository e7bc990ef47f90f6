"""Any text at all goes through every tokenizer and model, and what is said of it does not depend on the others."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn import functional

from recipes.augmentation import EDA, RandomSwap
from recipes.data import Features, Needs
from recipes.data.ngrams import hash_words
from recipes.data.text import Tokens, tokenize
from recipes.data.tokens import TokenEncoder
from recipes.models.fused import Form, Objective

from .odd_models import TARGETS, TEXTS, Odd, descend, odd_model, tiny_encoder

# What stands between tokens. \s is Unicode's White_Space; jieba's are those of Python, and fastText has six.
BLANKS = {"word": r"\s", "whitespace": r"[ \t\n\x0b\x0c\r\x00]", "jieba": r"[\s\x1c-\x1f]"}
GRAMS = {"minn": 2, "maxn": 4}
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "textcnn": ("textcnn", {}, {}),
    "textcnn, characters": ("textcnn", {}, {"tokenizer": "char"}),
    "textcnn, jieba": ("textcnn", {}, {"tokenizer": "jieba"}),
    "textcnn, letter case": ("textcnn", {}, {"lowercase": False, "max_length": 5}),
    "fasttext": ("fasttext", {}, {"tokenizer": "whitespace", "lowercase": False}),
    "fasttext, pieces": ("fasttext", {}, {"tokenizer": "@json"}),
    "fasttext, n-grams of characters": ("fasttext", GRAMS, {}),
    "fasttext, a tree": ("fasttext", {"head": "hierarchical", **GRAMS}, {"tokenizer": "whitespace"}),
    "fasttext, words alone": ("fasttext", {"word_ngrams": 1, "end": False}, {}),
    "textrnn": ("textrnn", {}, {}),
    "textrnn, attention": ("textrnn", {"cell": "gru", "pooling": "attention"}, {"tokenizer": "whitespace"}),
    "textrcnn": ("textrcnn", {}, {}),
    "han": ("han", {}, {}),
    "han, characters": ("han", {}, {"tokenizer": "char"}),
    "dpcnn": ("dpcnn", {}, {}),
    "transformer": ("transformer", {}, {}),
    "transformer, pieces": ("transformer", {"pooling": "cls", "positions": "sinusoidal"}, {"tokenizer": "@json"}),
    "pretrained": ("pretrained", {"path": "@encoder"}, {}),
    "pretrained, mean": ("pretrained", {"path": "@encoder", "pooling": "mean"}, {}),
    "mlp": ("mlp", {}, {}),
    "mlp, characters": ("mlp", {}, {"tfidf_chars": 3}),
}


@pytest.fixture(scope="module")
def encoder_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a pretrained encoder with its tokenizer.json."""
    pytest.importorskip("transformers", reason="model=pretrained needs the extra [hf]")
    pytest.importorskip("tokenizers", reason="a tokenizer.json needs the extra [hf]")
    folder = tmp_path_factory.mktemp("encoder")
    tiny_encoder().make_directory(folder)
    return folder


@pytest.fixture
def odd(request: pytest.FixtureRequest) -> Odd:
    option, changed, features = CASES[request.param]
    if features.get("tokenizer") == "jieba":
        pytest.importorskip("jieba", reason="features.tokenizer=jieba needs the extra [jieba]")
    if "@json" in features.values():
        features = features | {"tokenizer": str(request.getfixturevalue("encoder_path") / "tokenizer.json")}
    if "@encoder" in changed.values():
        changed = changed | {"path": str(request.getfixturevalue("encoder_path"))}
    return odd_model(option, changed, **features)


@pytest.mark.parametrize("odd", CASES, indirect=True)
def test_a_text_scores_the_same_alone_and_in_any_company(odd: Odd, tmp_path: Path) -> None:
    """The vocabulary of odd words is saved and read on the way."""
    predictor = odd.saved(tmp_path)
    raw = predictor.score(TEXTS)
    chances = predictor.proba(raw)
    assert np.isfinite(raw).all()
    np.testing.assert_allclose(chances.sum(1), 1, atol=1e-5)
    assert len(np.unique(raw.round(3), axis=0)) > 40  # it does read them
    order = np.random.default_rng(0).permutation(len(TEXTS))
    for size in (1, 7):
        predictor.batch_size = size
        np.testing.assert_allclose(predictor.score([TEXTS[i] for i in order]), raw[order], atol=1e-5, rtol=0)
    for i in range(0, len(TEXTS), 9):
        np.testing.assert_allclose(predictor.score([TEXTS[i]])[0], raw[i], atol=1e-5, rtol=0)
    assert len(predictor.decide(raw)) == len(TEXTS)
    # Blanks alone are no text, and half of a pair of surrogates is one unknown character, with any tokenizer.
    blank, empty, half, unknown = predictor.score([" \t\u3000", "", "a \ud83d b", "a \ufffd b"])
    np.testing.assert_allclose(blank, empty, atol=1e-5)
    np.testing.assert_allclose(half, unknown, atol=1e-5)


@pytest.mark.parametrize(
    "odd", ["han, characters", "textrnn, attention", "transformer, pieces", "pretrained", "pretrained, mean"], indirect=True
)
def test_attention_is_shown_for_each_of_them(odd: Odd, tmp_path: Path) -> None:
    predictor = odd.saved(tmp_path)
    found = predictor.explain(TEXTS)
    assert [[token for token, _ in row] for row in found] == odd.encoder.tokens(pl.Series(["" if t.isspace() else t for t in TEXTS]))  # type: ignore[attr-defined]
    weights = [np.array([weight for _, weight in row]) for row in found]
    for row in weights:
        assert (row >= 0).all()
        np.testing.assert_allclose(row.sum(), float(len(row) > 0), atol=1e-5)
    for i in range(0, len(TEXTS), 23):
        np.testing.assert_allclose([weight for _, weight in predictor.explain([TEXTS[i]])[0]], weights[i], atol=1e-5)


@pytest.mark.parametrize("odd", CASES, indirect=True)
def test_training_steps_stay_finite(odd: Odd) -> None:
    """All texts at once, and the empty ones alone."""
    empty = np.array([i for i, text in enumerate(TEXTS) if not text.strip("\x00 \t\n\u3000")])
    for rows in (np.arange(0, len(TEXTS), 3), empty, empty[:1]):
        assert np.isfinite(descend(odd.model.train(), odd.train.batch(rows)))
    assert all(torch.isfinite(p).all() for p in odd.model.parameters())


FUSED: list[tuple[str, Form]] = [
    ("fasttext", "softmax"),
    ("fasttext, n-grams of characters", "sigmoid"),
    ("fasttext, a tree", "hierarchical"),
    ("fasttext, words alone", "softmax"),
]


@pytest.mark.parametrize(("odd", "form"), FUSED, ids=[name for name, _ in FUSED], indirect=["odd"])
def test_a_fused_step_reads_them_as_autograd_does(odd: Odd, form: Form) -> None:
    objective, rows = Objective(form), np.arange(len(TEXTS))
    update = odd.model.fused_update(objective, 1)  # type: ignore[misc]
    assert not isinstance(update, str), update
    with torch.no_grad():
        logits_BC, targets_B = odd.model.eval()(odd.train.batch(rows)), torch.from_numpy(TARGETS)
        if form == "sigmoid":
            labels_BC = functional.one_hot(targets_B, 3).float()
            expected = functional.binary_cross_entropy_with_logits(logits_BC, labels_BC, reduction="none").mean(1)
        else:
            expected = functional.cross_entropy(logits_BC, targets_B, reduction="none")
    still = update(odd.train, rows, np.zeros(len(rows), np.float32), objective, 0, 0)
    np.testing.assert_allclose(still, expected, atol=1e-5)
    for _ in range(2):
        assert np.isfinite(update(odd.train, rows, np.full(len(rows), 0.1, np.float32), objective, 0, 0)).all()
    assert all(torch.isfinite(p).all() for p in odd.model.parameters())


@pytest.mark.parametrize("odd", ["textcnn", "textcnn, jieba", "fasttext, words alone", "han", "transformer"], indirect=True)
def test_edited_texts(odd: Odd, tmp_path: Path) -> None:
    """Each edit of EDA gives whole texts, and a model trains on them."""
    path, bag = tmp_path / "synonyms.tsv", odd.needs.form == "bag"
    path.write_text("good\tbad|不\nbad\tgood\nfilm\tgood\n不\tbad\nnot\tgood\nabc\tfilm\nsomething\tgood\n", encoding="utf-8")
    facts = (odd.facts.class_names, odd.facts.class_counts, "bag" if bag else "sequence")
    strong = {"alpha_sr": 0.0, "alpha_ri": 0.0, "alpha_rs": 0.0, "alpha_rd": 0.0, "lexicon": str(path), "probability": 1.0}
    batch = odd.train.batch(np.arange(len(TEXTS)))
    rng = np.random.default_rng(0)
    for name in ("alpha_sr", "alpha_ri", "alpha_rd", *([] if bag else ["alpha_rs"])):
        edited = EDA(odd.encoder.vocabulary, *facts, "word", **strong | {name: 0.4})(batch, rng)
        assert torch.equal(edited.targets, batch.targets)
        if bag:
            assert edited.ids is not None
            assert edited.offsets is not None
            assert ((edited.ids > 1) & (edited.ids < odd.facts.vocab_size)).all()
            assert (edited.offsets[0], edited.offsets[-1]) == (0, len(edited.ids))
            lengths, before = edited.offsets.diff(), batch.offsets.diff()  # type: ignore[union-attr]
        else:
            assert edited.tokens_BT is not None
            assert edited.lengths_B is not None
            lengths, before = edited.lengths_B, batch.lengths_B
            inside = torch.arange(edited.tokens_BT.shape[1]) < lengths[:, None]
            assert torch.equal(edited.tokens_BT > 0, inside)
            assert (edited.tokens_BT < odd.facts.vocab_size).all()
        assert torch.equal(lengths == 0, before == 0)  # neither the empty ones nor the others change sides
        assert not (name == "alpha_ri" and torch.equal(lengths, before))
        assert np.isfinite(descend(odd.model.train(), edited.take(torch.arange(0, len(TEXTS), 3))))


def test_exchanged_characters() -> None:
    """An edit that looks nothing up takes characters as words; the letters of each text stay what they are."""
    odd = odd_model("textcnn", {}, "char", steps=0)
    batch = odd.train.batch(np.arange(len(TEXTS)))
    edited = RandomSwap(odd.facts.class_names, odd.facts.class_counts, "sequence")(batch, np.random.default_rng(0))
    assert batch.tokens_BT is not None
    assert edited.tokens_BT is not None
    assert not torch.equal(edited.tokens_BT, batch.tokens_BT)
    assert torch.equal(edited.tokens_BT.sort(1).values, batch.tokens_BT.sort(1).values)


# Tokenizers alone


def spelled(found: Tokens) -> list[list[str]]:
    words, ends = found.types.gather(found.codes).to_list(), np.cumsum(found.lengths)
    return [words[end - length : end] for end, length in zip(ends.tolist(), found.lengths.tolist(), strict=True)]


@pytest.mark.parametrize("rule", ["word", "whitespace", "char", "jieba"])
def test_no_character_is_lost_or_made(rule: str) -> None:
    """The tokens of a text, one behind the other, are the text without its blanks."""
    if rule == "jieba":
        pytest.importorskip("jieba", reason="features.tokenizer=jieba needs the extra [jieba]")
    found = spelled(tokenize(pl.Series(TEXTS), Features(tokenizer=rule, max_length=None, lowercase=False)))
    given = pl.Series(TEXTS).str.replace_all("’", "'") if rule == "word" else pl.Series(TEXTS)
    expected = given if rule == "char" else given.str.replace_all(BLANKS[rule], "")
    assert ["".join(tokens) for tokens in found] == expected.to_list()
    assert all(tokens for row in found for tokens in row)
    if rule == "whitespace":
        assert [len(row) for row in found] == [len(list(filter(None, re.split(BLANKS[rule], text)))) for text in TEXTS]


def fnv(word: str) -> int:
    """FNV-1a of 32 bits over signed bytes."""
    number = 2166136261
    for byte in word.encode():
        number = ((number ^ (byte - 256 if byte > 127 else byte)) * 16777619) % 2**32
    return number


def test_hashes_of_odd_words_of_any_length() -> None:
    expected = [fnv(text) for text in TEXTS]
    for count in (len(TEXTS), 40, 8, 0):
        assert hash_words(TEXTS[:count]).tolist() == expected[:count]


MEGABYTES = "not a good film, 不好 👍 "  # eight tokens, six between blanks, 22 characters, 29 bytes


@pytest.mark.parametrize(("rule", "tokens"), [("word", 8), ("whitespace", 6), ("char", 22)])
def test_a_line_of_ten_megabytes_is_read_whole_if_asked(rule: str, tokens: int) -> None:
    found = tokenize(pl.Series([MEGABYTES * 350_000, "a", ""]), Features(tokenizer=rule, max_length=None))
    assert found.lengths.tolist() == [tokens * 350_000, 1, 0]
    assert found.cut == 0


def test_a_line_of_a_megabyte_through_a_tokenizer_file() -> None:
    """Which takes a second a megabyte, and two hundred times its memory, whatever max_length is: it is cut afterwards."""
    pytest.importorskip("tokenizers", reason="a tokenizer.json needs the extra [hf]")
    content = json.dumps(tiny_encoder().wordpiece())
    found = tokenize(pl.Series([MEGABYTES * 10_000, "x" * 1_000_000]), Features(tokenizer=content, max_length=None))
    assert found.lengths[0] % 10_000 == 0
    assert found.lengths[1] == 1  # unknown


def test_a_word_of_megabytes_is_hashed_in_seconds() -> None:
    """A file without blanks is one word of its length, and numpy is called no more than once a byte of the shorter ones."""
    texts, features = pl.Series(["é" * 1_000_000, "a film"]), Features(tokenizer="whitespace")
    started = time.perf_counter()
    encoder, store, _ = TokenEncoder.fit(texts, features, Needs("tokens", word_ngrams=2, buckets=1000, form="bag", end=True))
    assert time.perf_counter() - started < 3
    assert store.row_sizes(np.arange(2)).tolist() == [3, 5]
    assert len(encoder.words) == 4


@pytest.mark.parametrize("unit", ["๑", "1", "๑\u0301", "1,", "a'", "👍\u200d", "🇩", "\u0301", "👍\ufe0f🏽", "ก\u0e49", "'", "乂"])
def test_words_of_any_run_are_found_in_linear_time(unit: str) -> None:
    """A rule that looks ahead to the end of the run from each of its characters would take minutes."""
    started = time.perf_counter()
    (row,) = spelled(tokenize(pl.Series([unit * 60_000]), Features(max_length=None)))
    assert time.perf_counter() - started < 5
    assert "".join(row) == unit * 60_000
    if unit == "๑":
        assert len(row) == 1
