"""A fastText `.bin` that is written here byte by byte, and scored here word by word.

V words, K buckets, E embedding, C labels.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import recipes
from recipes.cli.main import main
from recipes.errors import CheckpointError
from recipes.inference import Predictor, load_bundle

LOSSES = {"hs": 1, "ns": 2, "softmax": 3, "ova": 4}
WORDS = {"</s>": 12, "alpha": 9, "beta": 7, "été": 5, "東京": 4, "a\u00a0b": 3, "x\u3000y": 2, "😀": 1}
LABELS = {"__label__a": 4, "__label__b": 4, "__label__c": 2, "__label__d": 2}
TEXTS = [
    "alpha beta", "beta alpha alpha", "", "  \t ", "nobody knows these", "été 東京 😀", "a\u00a0b x\u3000y", "a b x y",
    "alpha\x00beta\x0bété\x0calpha\rbeta", "alpha __label__a beta", "__label__unheard alpha", "alpha </s> beta", "</s>", "alpha</s> beta",
    "alpha\nbeta", "e\u0301te\u0301 👩‍👩‍👧 مرحبا", "Ÿ",
]  # fmt: skip


@dataclass
class Model:
    """A model with the settings that prediction reads, and random matrices."""

    loss: str = "softmax"
    word_ngrams: int = 1
    bucket: int = 0
    minn: int = 0
    maxn: int = 0
    dim: int = 3
    version: int = 12
    kind: int = 3
    pruned: int = -1
    quantized: tuple[int, int] = (0, 0)
    words: dict[str, int] = field(default_factory=lambda: dict(WORDS))
    labels: dict[str, int] = field(default_factory=lambda: dict(LABELS))

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        self.table = rng.normal(size=(len(self.words) + self.bucket, self.dim)).astype(np.float32)
        self.out = rng.normal(size=(len(self.labels), self.dim)).astype(np.float32)

    def bytes(self) -> bytes:
        settings = (self.dim, 5, 5, 1, 5, self.word_ngrams, LOSSES[self.loss], self.kind, self.bucket, self.minn, self.maxn, 100, 1e-4)
        parts = [struct.pack("<2i", 793712314, self.version), struct.pack("<12id", *settings)]
        entries = [(word, count, 0) for word, count in self.words.items()] + [(word, count, 1) for word, count in self.labels.items()]
        tokens = sum(count for _, count, _ in entries)
        parts.append(struct.pack("<3i2q", len(entries), len(self.words), len(self.labels), tokens, self.pruned))
        parts += [word.encode() + b"\0" + struct.pack("<qb", count, kind) for word, count, kind in entries]
        for quantized, matrix in zip(self.quantized, (self.table, self.out), strict=True):
            parts += [struct.pack("<b2q", quantized, *matrix.shape), matrix.tobytes()]
        return b"".join(parts)

    def save(self, folder: Path) -> Path:
        path = folder / "model.bin"
        path.write_bytes(self.bytes())
        return path

    def rows(self, text: str) -> list[int]:
        """Rows of the table that a line reads, one after another as the reference implementation finds them."""
        found, hashes, names = [], [], list(self.words)
        for token in [*re.split("[ \t\n\v\f\r\0]+", text), "</s>"]:
            if not token or (token not in self.words and (token in self.labels or token.startswith("__label__"))):
                continue
            if token in names:
                found.append(names.index(token))
            if token != "</s>":
                found += [len(names) + gram for gram in self.subwords(f"<{token}>")]
            value = fnv(token.encode())
            hashes.append(value - 2**32 if value >= 2**31 else value)
            if token == "</s>":
                break
        for first in range(len(hashes)):
            running = hashes[first]
            for following in hashes[first + 1 : first + self.word_ngrams]:
                running = (running * 116049371 + following) % 2**64
                found.append(len(names) + running % self.bucket)
        return found

    def subwords(self, word: str) -> list[int]:
        return [
            fnv(word[first:last].encode()) % self.bucket
            for first in range(len(word))
            for last in range(first + 1, min(first + self.maxn, len(word)) + 1)
            if last - first >= self.minn and not (last - first == 1 and (first == 0 or last == len(word)))
        ]

    def probabilities(self, text: str) -> list[float]:
        rows = self.rows(text)
        hidden = self.table[rows].astype(np.float64).mean(axis=0) if rows else np.zeros(self.dim)
        z = self.out.astype(np.float64) @ hidden
        s = 1 / (1 + np.exp(-z))
        if self.loss in ("ova", "ns"):
            return s.tolist()
        if self.loss == "hs":  # of counts 4, 4, 2, 2: (d, c) first, then (that, b), then (a, that); the second of a pair is to the right
            return [1 - s[2], s[2] * s[1], s[2] * (1 - s[1]) * s[0], s[2] * (1 - s[1]) * (1 - s[0])]
        return (np.exp(z) / np.exp(z).sum()).tolist()


def fnv(content: bytes) -> int:
    value = 2166136261
    for byte in content:
        value = (value ^ (byte + 0xFFFFFF00 if byte >= 128 else byte)) * 16777619 % 2**32
    return value


GRAMS = {
    "words": {},
    "words, with buckets that nothing reads": {"bucket": 4},
    "bigrams": {"word_ngrams": 2, "bucket": 11},
    "trigrams": {"word_ngrams": 3, "bucket": 2_000_003},
    "characters": {"minn": 2, "maxn": 3, "bucket": 13},
    "characters from none": {"minn": 0, "maxn": 2, "bucket": 13},
    "both": {"word_ngrams": 2, "minn": 3, "maxn": 6, "bucket": 17},
    "an empty range": {"minn": 3, "maxn": 2, "bucket": 13},
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("grams", GRAMS)
def test_probabilities_are_those_of_the_formulas(tmp_path: Path, loss: str, grams: str) -> None:
    model = Model(loss=loss, **GRAMS[grams])
    predictor = recipes.load(model.save(tmp_path))
    assert predictor.classes == ("a", "b", "c", "d")
    assert predictor.facts.task == ("multilabel" if loss in ("ova", "ns") else "multiclass")
    found, expected = predictor.predict_proba(TEXTS), np.array([model.probabilities(text) for text in TEXTS])
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)
    assert len({tuple(row) for row in expected.round(6).tolist()}) > 5, "the texts are told apart"
    if loss in ("softmax", "hs"):
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
        assert predictor.predict(TEXTS) == ["abcd"[c] for c in expected.argmax(axis=1)]
    else:
        assert predictor.predict(TEXTS) == [[name for name, p in zip("abcd", row, strict=True) if p >= 0.5] for row in expected]


def test_version_11_has_no_characters(tmp_path: Path) -> None:
    old = Model(version=11, minn=2, maxn=3, bucket=13)
    found = recipes.load(old.save(tmp_path)).predict_proba(TEXTS)
    old.maxn = 0
    np.testing.assert_allclose(found, [old.probabilities(text) for text in TEXTS], atol=1e-6)


def test_labels_with_another_prefix(tmp_path: Path) -> None:
    model = Model(labels={"#yes": 30, "#no": 3}, word_ngrams=2, bucket=7)
    predictor = recipes.load(model.save(tmp_path))
    assert (predictor.classes, predictor.facts.task) == (("#yes", "#no"), "binary")
    texts = ["alpha #no beta", "alpha #maybe beta", "alpha beta"]
    np.testing.assert_allclose(predictor.predict_proba(texts), [model.probabilities(text) for text in texts], atol=1e-6)
    assert predictor.predict_proba(texts)[0].tolist() == predictor.predict_proba(texts)[2].tolist()


@pytest.mark.parametrize("loss", ["softmax", "hs"])
def test_one_label(tmp_path: Path, loss: str) -> None:
    assert recipes.load(Model(loss=loss, labels={"__label__only": 3}).save(tmp_path)).predict_proba(["alpha"]).tolist() == [[1.0]]


def test_what_is_known_of_train(tmp_path: Path) -> None:
    one, several = (load_bundle(Model(loss=loss).save(tmp_path)).facts for loss in ("softmax", "ova"))
    assert (one.train_rows, several.train_rows) == (12, 12)  # lines: </s> was seen once in each
    assert one.class_counts.tolist() == [4, 4, 2, 2]
    served = Predictor.load(tmp_path / "model.bin", prior={"c": 0.9}).predict_proba(["alpha"])
    assert served[0, 2] > recipes.load(tmp_path / "model.bin").predict_proba(["alpha"])[0, 2]


def test_a_word_that_is_no_utf8_is_no_other_word(tmp_path: Path) -> None:
    model = Model(words={"</s>": 3, "alpha": 2, "Q": 1})
    path = tmp_path / "model.bin"
    path.write_bytes(model.bytes().replace(b"Q\0", b"\xff\0"))
    del model.words["Q"]
    texts = ["alpha Q", r"alpha \xff"]
    np.testing.assert_allclose(recipes.load(path).predict_proba(texts), [model.probabilities(text) for text in texts], atol=1e-6)


def test_the_table_is_not_copied(tmp_path: Path) -> None:
    bundle = load_bundle(Model(word_ngrams=2, bucket=1000).save(tmp_path))
    table = Predictor(bundle).model.embedding.weight
    assert table.shape == (2 + len(WORDS) + 1000, 3)
    assert table.data_ptr() == bundle.weights["embedding.weight"].data_ptr()


def test_predict_reads_it(tmp_path: Path) -> None:
    model = Model(word_ngrams=2, bucket=11)
    path = model.save(tmp_path)
    pl.DataFrame({"sentence": TEXTS}).write_parquet(tmp_path / "new.parquet")
    main(["predict", "device=cpu", f"run={path}", f"input={tmp_path / 'new.parquet'}", f"output={tmp_path / 'scored.parquet'}"])
    scored = pl.read_parquet(tmp_path / "scored.parquet")
    assert scored.columns == ["sentence", "prediction", "p_a", "p_b", "p_c", "p_d"]
    np.testing.assert_allclose(scored[:, 2:].to_numpy(), [model.probabilities(text) for text in TEXTS], atol=1e-6)


def test_many_rows_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = recipes.load(Model(word_ngrams=2, minn=2, maxn=3, bucket=11).save(tmp_path))
    whole = predictor.predict_proba(TEXTS)
    monkeypatch.setattr("recipes.data.text._CHUNK", 16)
    monkeypatch.setattr("recipes.data.ngrams._GROUP", 3)
    np.testing.assert_allclose(predictor.predict_proba(TEXTS), whole, atol=1e-6)
    assert predictor.predict_proba([]).shape == (0, 4)


MISTAKES = {
    "quantized": (Model(quantized=(1, 0)), r"is quantized, .* give the \.bin that it was made from"),
    "quantized in its output": (Model(quantized=(0, 1)), "is quantized"),
    "pruned": (Model(pruned=0), "is quantized"),
    "word vectors": (Model(kind=2), r"holds word vectors \(skipgram\) and no classifier; .* model\.vectors=model\.vec"),
    "no such kind": (Model(kind=7), "its settings make no sense"),
    "newer": (Model(version=13), "has version 13 of the format, and this package reads 11 and 12"),
    "no labels": (Model(labels={}), "8 words and 0 labels"),
    "n-grams without buckets": (Model(maxn=3, minn=2), "it has n-grams and no buckets"),
    "labels in another order": (Model(loss="hs", labels={"__label__a": 1, "__label__b": 2}), "not in the order of their counts"),
    "a count below zero": (Model(words={"</s>": 1, "alpha": -1}), "entry 2 of its dictionary makes no sense"),
    "a word twice": (Model(words={"a": 1, "__label__a": 1}), "a word stands twice"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_models_that_are_not_read_say_what_to_do(tmp_path: Path, mistake: str) -> None:
    model, message = MISTAKES[mistake]
    with pytest.raises(CheckpointError, match=message):
        recipes.load(model.save(tmp_path))


def test_a_file_that_is_cut_short_is_an_error_wherever_it_ends(tmp_path: Path) -> None:
    content, path = Model(word_ngrams=2, bucket=5).bytes(), tmp_path / "model.bin"
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(CheckpointError, match="does not begin as one" if size < 8 else "it ends at byte"):
            recipes.load(path)


PLACES = {"dim": 8, "bucket": 40, "entries": 64, "words": 68, "labels": 72}


@pytest.mark.parametrize("lie", [2**30, -1, 3])
@pytest.mark.parametrize("place", PLACES)
def test_sizes_are_not_believed(tmp_path: Path, place: str, lie: int) -> None:
    content, path = bytearray(Model(word_ngrams=2, bucket=5, dim=4).bytes()), tmp_path / "model.bin"
    struct.pack_into("<i", content, PLACES[place], lie)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"the fastText model in .* is damaged"):
        recipes.load(path)


def test_a_matrix_larger_than_the_file_is_not_allocated(tmp_path: Path) -> None:
    model, path = Model(word_ngrams=2, bucket=5), tmp_path / "model.bin"
    content = bytearray(model.bytes())
    dim, bucket = 2**30, 2**30  # four exabytes, and consistent
    struct.pack_into("<i", content, PLACES["dim"], dim)
    struct.pack_into("<i", content, PLACES["bucket"], bucket)
    head = content.index(struct.pack("<2q", *model.table.shape))
    struct.pack_into("<2q", content, head, len(WORDS) + bucket, dim)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="inside a matrix"):
        recipes.load(path)


@pytest.mark.parametrize("content", [b"", b"short", b"PK\x03\x04 a zip archive", b"\0" * 500])
def test_other_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match="neither the directory of a finished run nor a fastText model"):
        recipes.load(tmp_path / "other.bin")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no file .*nowhere\.bin"):
        recipes.load(tmp_path / "nowhere.bin")


def test_the_hash_is_the_published_one() -> None:
    assert [fnv(word.encode()) for word in ("hello", "world", "</s>", "été")] == [1335831723, 933488787, 3617362777, 200187927]
    assert math.isclose(sum(Model(loss="hs").probabilities("alpha")), 1)
