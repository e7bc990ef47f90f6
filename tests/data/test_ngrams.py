"""n-grams of characters and of words as fastText makes them, and the bags that hold them, against plain Python."""

from __future__ import annotations

import json
import sys

import numpy as np
import polars as pl
import pytest
from encoder_reference import fnv, ngrams, vocabulary
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.data import Features, Needs, load_encoder
from recipes.data import ngrams as ngrams_module
from recipes.data import text as text_module
from recipes.data.ngrams import char_ngrams, expand, groups
from recipes.data.stores import Store
from recipes.data.text import tokenize
from recipes.data.tokens import TokenEncoder

PLAIN = Features(tokenizer="whitespace", lowercase=False)
END = "</s>"
TEXTS = ["where is é it", "", "日本語 where 👍🏽", "it it", "naïve été zz", " "]


def subwords(word: str, shortest: int, longest: int) -> list[str]:
    """The published rule over the bytes of `<word>`: begin at each character, grow by whole characters."""
    if word == END:
        return []
    data, found = f"<{word}>".encode(), []
    for i in range(len(data)):
        if data[i] & 0xC0 == 0x80:
            continue
        j, n = i, 1
        while j < len(data) and n <= longest:
            j += 1
            while j < len(data) and data[j] & 0xC0 == 0x80:
                j += 1
            if n >= shortest and not (n == 1 and (i == 0 or j == len(data))):
                found.append(data[i:j].decode())
            n += 1
    return found


def by_word(words: list[str], shortest: int, longest: int, buckets: int) -> list[list[int]]:
    flat, sizes = char_ngrams(words, shortest, longest, buckets)
    assert flat.dtype == np.int32
    assert len(flat) == sizes.sum()
    ends = np.cumsum(sizes)
    return [flat[end - size : end].tolist() for end, size in zip(ends.tolist(), sizes.tolist(), strict=True)]


def test_subwords_of_the_paper() -> None:
    """Bojanowski et al. 2017, section 3.2: the 3-grams of `where`; each hash is that of the n-gram as a word."""
    assert subwords("where", 3, 3) == ["<wh", "whe", "her", "ere", "re>"]
    (found,) = by_word(["where"], 3, 3, 2_000_000)
    assert found == [fnv(gram) % 2_000_000 for gram in ("<wh", "whe", "her", "ere", "re>")]


@settings(max_examples=150, deadline=None)
@given(
    words=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=7) | st.sampled_from([END, "<", ">", ""]), max_size=6),
    lengths=st.tuples(st.integers(1, 4), st.integers(0, 4)),
    buckets=st.sampled_from([1, 97, 2_000_000, 2**31 - 1]),
)
def test_char_ngrams_equal_the_reference(words: list[str], lengths: tuple[int, int], buckets: int) -> None:
    """The order within a word is free: a bag has none."""
    shortest, longest = lengths[0], lengths[0] + lengths[1]
    expected = [sorted(fnv(gram) % buckets for gram in subwords(word, shortest, longest)) for word in words]
    assert [sorted(found) for found in by_word(words, shortest, longest, buckets)] == expected


def test_brackets_alone_and_the_end_are_no_ngrams() -> None:
    assert by_word(["a"], 1, 1, 1000) == [[fnv("a") % 1000]]
    assert by_word([END, ""], 1, 6, 1000) == [[], [fnv("<>") % 1000]]


def bag_needs(**changed: object) -> Needs:
    return Needs("tokens", form="bag", **changed)  # type: ignore[arg-type]


def rows_of(store: Store) -> list[list[int]]:
    ids, lengths = store.tensors["ids"].tolist(), store.tensors["lengths"].tolist()
    ends = np.cumsum(lengths)
    return [ids[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def fit(texts: list[str], features: Features, needs: Needs) -> tuple[TokenEncoder, Store]:
    encoder, store, _ = TokenEncoder.fit(pl.Series(texts, dtype=pl.String), features, needs)
    return encoder, store


def encoded(encoder: TokenEncoder, texts: list[str]) -> list[list[int]]:
    return rows_of(encoder.store(pl.Series(texts, dtype=pl.String))[0])


def reference(train: list[str], new: list[str], features: Features, needs: Needs) -> tuple[int, list[list[int]], list[list[int]]]:
    """Rows of the table, and for each text its ids in order: known words, then n-grams that train filled."""

    def words(text: str) -> list[str]:
        return text.split() + [END] * needs.end

    def buckets(text: str) -> list[int]:
        chars = [fnv(gram) % needs.buckets for word in words(text) for gram in subwords(word, needs.minn, needs.maxn) if needs.maxn]
        return sorted(chars + (ngrams(words(text), needs.word_ngrams, needs.buckets) if needs.word_ngrams > 1 else []))

    known = vocabulary([words(text) for text in train], features.min_count)
    seen = sorted({bucket for text in train for bucket in buckets(text)})
    place = {bucket: 2 + len(known) + i for i, bucket in enumerate(seen)}

    def ids(text: str) -> list[int]:
        return [known[word] for word in words(text) if word in known] + sorted(place[b] for b in buckets(text) if b in place)

    return 2 + len(known) + len(seen), [ids(text) for text in train], [ids(text) for text in new]


def as_bags(rows: list[list[int]], words: int) -> list[list[int]]:
    """Words in their order, n-grams sorted."""
    return [[i for i in row if i < words] + sorted(i for i in row if i >= words) for row in rows]


NEW = ["it where unseen", "", "été 日本語!", "zz"]
CASES = {
    "characters": bag_needs(buckets=500, minn=2, maxn=4),
    "one character": bag_needs(buckets=500, minn=1, maxn=1, end=True),
    "words": bag_needs(buckets=500, word_ngrams=3, end=True),
    "both": bag_needs(buckets=200, word_ngrams=2, minn=3, maxn=5, end=True),
    "both without an end": bag_needs(buckets=200, word_ngrams=2, minn=3, maxn=5),
    "an end alone": bag_needs(end=True),
}


@pytest.mark.parametrize("min_count", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_bags_equal_the_reference(case: str, min_count: int) -> None:
    features, needs = Features(tokenizer="whitespace", lowercase=False, min_count=min_count), CASES[case]
    encoder, store = fit(TEXTS, features, needs)
    size, train, new = reference(TEXTS, NEW, features, needs)
    words = len(encoder.vocabulary)
    assert encoder.facts()["vocab_size"] == size
    assert as_bags(rows_of(store), words) == train
    assert as_bags(encoded(encoder, NEW), words) == new


@pytest.mark.parametrize("case", CASES)
def test_groups_and_chunks_change_nothing(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = TEXTS * 5
    encoder, store = fit(texts, PLAIN, CASES[case])
    whole = rows_of(store), encoded(encoder, NEW), encoder.state()[0]
    monkeypatch.setattr(ngrams_module, "_GROUP", 3)
    monkeypatch.setattr(text_module, "_CHUNK", 7)
    assert len(list(groups(np.array([2, 0, 2, 2, 5])))) > 2
    again, store = fit(texts, PLAIN, CASES[case])
    assert (rows_of(store), encoded(again, NEW), again.state()[0]) == whole
    np.testing.assert_array_equal(again.buckets, encoder.buckets)


@pytest.mark.parametrize("chunk", [1, 7, 30])
def test_tokens_of_chunks_are_numbered_as_one(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, features = pl.Series([*TEXTS, None, "b a"]), Features(max_length=2)
    whole = tokenize(texts, features)
    monkeypatch.setattr(text_module, "_CHUNK", chunk)
    cut = tokenize(texts, features)
    assert cut.codes.tolist() == whole.codes.tolist()
    assert cut.lengths.tolist() == whole.lengths.tolist()
    assert cut.types.to_list() == whole.types.to_list() == sorted(whole.types.to_list())
    assert cut.cut == whole.cut == 3


def test_blanks_are_cut_where_numba_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, features = pl.Series([*TEXTS, "b\x00a  c", ""]), Features(tokenizer="whitespace", max_length=2)
    monkeypatch.setattr(text_module, "_CHUNK", 7)
    compiled = tokenize(texts, features)
    monkeypatch.setitem(sys.modules, "recipes.data.blanks_kernel", None)
    plain = tokenize(texts, features)
    assert plain.codes.tolist() == compiled.codes.tolist()
    assert (plain.lengths.tolist(), plain.types.to_list(), plain.cut) == (compiled.lengths.tolist(), compiled.types.to_list(), compiled.cut)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 6), max_size=12), st.integers(1, 8))
def test_groups_cover_each_text_once(lengths: list[int], size: int) -> None:
    before = ngrams_module._GROUP
    ngrams_module._GROUP = size
    try:
        found = list(groups(np.array(lengths, dtype=np.int64)))
    finally:
        ngrams_module._GROUP = before
    assert [i for texts, _ in found for i in range(len(lengths))[texts]] == list(range(len(lengths)))
    assert [i for _, place in found for i in range(sum(lengths))[place]] == list(range(sum(lengths)))
    for texts, place in found:
        assert sum(lengths[texts]) == place.stop - place.start


def test_expand() -> None:
    flat, counts = expand(np.array([2, 0, 1, 2]), np.array([10, 11, 20, 21, 22]), np.array([2, 0, 3]))
    assert flat.tolist() == [20, 21, 22, 10, 11, 20, 21, 22]
    assert counts.tolist() == [3, 2, 0, 3]


def test_golden_bigrams_with_the_end() -> None:
    """`hello world` is read as [hello world </s>], whose bigrams have these buckets of two million."""
    encoder, store = fit(["hello world"], PLAIN, bag_needs(buckets=2_000_000, word_ngrams=2, end=True))
    assert encoder.buckets.tolist() == [1298458, 1485020]
    assert encoder.vocabulary == ("", "<unk>", "hello", "world", END)
    assert rows_of(store) == [[2, 3, 4, 6, 5]]
    three, _ = fit(["hello world"], PLAIN, bag_needs(buckets=2_000_000, word_ngrams=3, end=True))
    assert three.buckets.tolist() == [1159053, 1298458, 1485020]


def test_an_empty_text() -> None:
    """With the end it has one row; without it none."""
    for end, expected in ((True, [[3]]), (False, [[]])):
        encoder, _ = fit(["b", "b a"], PLAIN, bag_needs(buckets=50, word_ngrams=2, minn=2, maxn=3, end=end))
        assert encoded(encoder, [""]) == encoded(encoder, ["\t "]) == expected
    assert encoder.vocabulary[3] == "a"
    with_end, _ = fit(["", ""], PLAIN, bag_needs(end=True))
    assert encoded(with_end, ["", "new"]) == [[2], [2]]


def test_the_end_is_a_word_that_a_text_may_hold_already() -> None:
    encoder, store = fit([f"a {END}", "a"], PLAIN, bag_needs(end=True))
    assert encoder.vocabulary == ("", "<unk>", END, "a")
    assert rows_of(store) == [[3, 2, 2], [3, 2]]


def test_the_end_stands_behind_a_text_that_was_cut() -> None:
    features = Features(tokenizer="whitespace", max_length=2)
    encoder, store = fit(["a b c", "a"], features, bag_needs(end=True))
    assert set(encoder.vocabulary[2:]) == {"a", "b", END}
    assert [len(row) for row in rows_of(store)] == [3, 2]
    assert encoder.describe() == "whitespace, 5 ids, 1.5 tokens a row"


@pytest.mark.parametrize("case", CASES)
def test_state_survives_json(case: str) -> None:
    encoder, store = fit(TEXTS, PLAIN, CASES[case])
    settings_, arrays = encoder.state()
    again = load_encoder(json.loads(json.dumps(settings_)), arrays)
    assert isinstance(again, TokenEncoder)
    assert (again.facts(), again.describe()) == (encoder.facts(), encoder.describe())
    assert encoded(again, TEXTS) == rows_of(store)
    assert encoded(again, NEW) == encoded(encoder, NEW)


def test_what_is_hashed_is_told() -> None:
    encoder, _ = fit(TEXTS, PLAIN, CASES["both"])
    assert f"and {len(encoder.buckets):,} hashed 2-grams and 3- to 5-grams of characters" in encoder.describe()
