"""Synonyms from the files that are found in the wild, and files that are not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recipes.augmentation import EDA, Synonym
from recipes.augmentation.lexicon import lexicon_pairs, vector_pairs
from recipes.augmentation.thesaurus import Thesaurus, make_thesaurus
from recipes.errors import ConfigError

from .conftest import VOCABULARY

Write = Callable[[str | bytes], Path]
LOOKUP: dict[str, Any] = {
    "vocabulary": VOCABULARY,
    "class_names": ("a", "b"),
    "class_counts": np.array([1, 1]),
    "form": "sequence",
    "tokenizer": "word",
}


def named(pairs: np.ndarray) -> set[tuple[str, str]]:
    return {(VOCABULARY[a], VOCABULARY[b]) for a, b in pairs}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("big\tlarge, huge\nfilm\tmovie\n", {("big", "large"), ("big", "huge"), ("film", "movie")}),
        ("big\tlarge huge\nfilm\tmovie\n", {("big", "large"), ("big", "huge"), ("film", "movie")}),
        ("big\tlarge;huge\r\n\r\nété\tüber\r\n", {("big", "large"), ("big", "huge"), ("été", "über")}),
        ("big\ta\tlarge\nbig\tr\thuge|gross\n", {("big", "large"), ("big", "huge")}),
        ("film\tn\tmotion movie|movie\n", {("film", "movie")}),  # two words are no synonym of one
        ("film\tn\tmotion movie\n", set()),
        ("zebra\tmovie|film\nfilm\tmotion movie\n", set()),  # signs on another line: blanks do not separate
        ("\ufeffBig\tn\tLarge\n", {("big", "large")}),
        ("zebra\tn\tcat\n", set()),
        ("", set()),
    ],
    ids=[
        "commas",
        "blanks",
        "windows",
        "three columns",
        "phrases",
        "one phrase",
        "a phrase of two columns",
        "capitals",
        "unknown",
        "empty",
    ],
)
def test_forms(write: Write, text: str, expected: set[tuple[str, str]]) -> None:
    assert named(lexicon_pairs(write(text), VOCABULARY, "augment.lexicon")) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("big\tlarge\nfilm movie\n", r":2: 'film movie' is neither `word<TAB>"),
        ("big\tlarge\nfilm\t\n", r":2: 'film' is neither"),
        ("\tlarge\n", ":1: "),
        ("big\ta\tlarge\tx\n", ":1: "),
        ("big\tlarge\n\nfilm\tn\tmovie\n", ":3 has 3 columns, and the lines before it have 2"),
        (b"big\tlarge\nfilm\t\xe9t\xe9\n", ":2 is not UTF-8"),
    ],
)
def test_broken_files_name_the_line(write: Write, text: str | bytes, message: str) -> None:
    path = write(text)
    with pytest.raises(ConfigError, match=f"augment.lexicon: {path}{message}"):
        lexicon_pairs(path, VOCABULARY, "augment.lexicon")


def test_a_missing_file_is_named_with_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=rf"augment\.lexicon: there is no file 'words.tsv' .*{tmp_path}"):
        lexicon_pairs("words.tsv", VOCABULARY, "augment.lexicon")


def test_the_nearest_words_by_cosine(write: Write) -> None:
    """Against all pairs in float64: the k nearest whose cosine is high enough, lengths of vectors do not matter."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(VOCABULARY), 20)) * rng.uniform(0.1, 10, size=(len(VOCABULARY), 1))
    vectors[5] = 0  # a word without a direction has no neighbours
    path = write("".join(f"{word} {' '.join(map(repr, row.tolist()))}\n" for word, row in zip(VOCABULARY, vectors, strict=True) if word))
    allowed = np.array([i > 1 and i % 7 != 0 for i in range(len(VOCABULARY))])
    places = [i for i in np.flatnonzero(allowed) if i != 5]
    unit = vectors[places] / np.linalg.norm(vectors[places], axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -2)
    expected = {(places[i], places[j]) for i in range(len(places)) for j in np.argsort(-cosine[i])[:3] if cosine[i, j] >= 0.2}
    found = vector_pairs(path, VOCABULARY, allowed, 3, 0.2, "augment.vectors")
    assert {(a, b) for a, b in found.tolist()} == expected
    assert expected


def test_few_vectors(write: Write) -> None:
    everything = np.ones(len(VOCABULARY), dtype=bool)
    for text, count in (("zebra 1 2\n", 0), ("cat 1 2\n", 0), ("cat 1 2\ndog 2 4.1\n", 2)):
        assert len(vector_pairs(write(text), VOCABULARY, everything, 5, 0.9, "augment.vectors")) == count


def test_synonyms_are_drawn_evenly_and_repetitions_do_not_count() -> None:
    thesaurus = Thesaurus(np.array([[2, 3], [2, 4], [2, 3], [2, 2], [5, 2]]), 6)
    words = torch.tensor([2] * 4000 + [5, 4, 0])
    drawn = thesaurus.draw(words, torch.from_numpy(np.random.default_rng(0).random(4003, dtype=np.float32)))
    assert thesaurus.knows(words)[-3:].tolist() == [True, False, False]
    assert drawn[4000] == 2
    assert set(drawn[:4000].tolist()) == {3, 4}
    assert (drawn[:4000] == 3).float().mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("stop", "protected", "expected"),
    [
        ("english", [], {"big", "été"}),
        ("none", [], {"big", "été", "the"}),
        ("english", ["Huge", "été"], {"big"}),  # huge is no synonym of big any more, large still is
        ("english", ["large", "huge", "über"], set()),
    ],
)
def test_which_words_have_synonyms(write: Write, stop: Any, protected: list[str], expected: set[str]) -> None:
    path = str(write("the\ta\nbig\tlarge, huge\nnot\tnon, a\n7\tbig\nb12\tbig\ndon't\ta\nété\tüber\ncat\tnot, 3.5, b12, été zebra\n"))
    if not expected:
        with pytest.raises(ConfigError, match="none of the 21 words of the training data a synonym"):
            make_thesaurus("synonym", VOCABULARY, path, None, 5, 0.6, stop, protected)
        return
    thesaurus = make_thesaurus("synonym", VOCABULARY, path, None, 5, 0.6, stop, protected)
    known = thesaurus.knows(torch.arange(len(VOCABULARY)))
    assert {word for word, has in zip(VOCABULARY, known.tolist(), strict=True) if has} == expected


def test_both_sources_add_up_and_coverage_is_told(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    lexicon, vectors = str(write("big\tlarge\n")), str(write("cat 1 2\ndog 2 4.1\n"))
    with caplog.at_level(logging.INFO):
        thesaurus = make_thesaurus("synonym", VOCABULARY, lexicon, vectors, 5, 0.6, "english", [])
    assert thesaurus.words == 3
    assert "3 of 21 words (14.3%) have synonyms" in caplog.text


@pytest.mark.parametrize("kind", [Synonym, EDA])
def test_a_source_is_needed(kind: Any) -> None:
    with pytest.raises(ConfigError, match=r"augment\.lexicon=<.*augment\.vectors=<"):
        kind(**LOOKUP)
