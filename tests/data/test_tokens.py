"""Texts to ids and hashed n-grams, against plain-Python references and fastText's own values."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import torch
from encoder_reference import fnv, ngrams, split_blanks, vocabulary
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.data import Features, Needs, Split, load_encoder
from recipes.data.ngrams import hash_ngrams, hash_words, merge_rows
from recipes.data.text import tokenize
from recipes.data.tokens import TokenEncoder
from recipes.errors import DataError

PLAIN = Features(tokenizer="whitespace")
SEQUENCE = Needs("tokens")
TEXTS = ["b a a c", "", "c b a", "d", "é 漢 é b"]


def rows_of(split: Split) -> list[list[int]]:
    """Ids of each row as the store keeps them."""
    ids, lengths = split.store.tensors["ids"].tolist(), split.store.tensors["lengths"].tolist()
    ends = np.cumsum(lengths)
    return [ids[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def fit(texts: list[str], features: Features = PLAIN, needs: Needs = SEQUENCE) -> tuple[TokenEncoder, Split]:
    encoder, store, _ = TokenEncoder.fit(pl.Series(texts, dtype=pl.String), features, needs)
    return encoder, Split("train", store)


def test_ids_by_count_then_by_word() -> None:
    encoder, split = fit(TEXTS)
    assert encoder.vocabulary == ("", "<unk>", "a", "b", "c", "é", "d", "漢")
    assert rows_of(split) == [[3, 2, 2, 4], [], [4, 3, 2], [6], [5, 7, 5, 3]]
    assert encoder.facts()["vocab_size"] == 8
    assert encoder.describe() == "whitespace, 8 ids, 2.4 tokens a row"


def test_unseen_words_are_one() -> None:
    encoder, _ = fit(TEXTS)
    assert rows_of(encoder.encode(pl.Series(["a x\x00 b", "", "y"]))) == [[2, 1, 3], [], [1]]
    assert rows_of(encoder.encode(pl.Series([], dtype=pl.String))) == []


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)


@settings(max_examples=80, deadline=None)
@given(
    train=st.lists(st.lists(words, max_size=8).map(" ".join), min_size=1, max_size=8),
    new=st.lists(st.lists(words, max_size=5).map(" ".join), max_size=3),
    min_count=st.integers(1, 2),
    max_vocab=st.none() | st.integers(1, 4),
)
def test_ids_equal_the_reference(train: list[str], new: list[str], min_count: int, max_vocab: int | None) -> None:
    features = Features(tokenizer="whitespace", lowercase=False, min_count=min_count, max_vocab=max_vocab)
    known = vocabulary([split_blanks(text) for text in train], min_count, max_vocab)
    if not known:
        with pytest.raises(DataError, match=r"features\.min_count"):
            fit(train, features)
        return
    encoder, split = fit(train, features)
    assert list(encoder.vocabulary[2:]) == list(known)
    assert rows_of(split) == [[known.get(word, 1) for word in split_blanks(text)] for text in train]
    assert rows_of(encoder.encode(pl.Series(new, dtype=pl.String))) == [[known.get(w, 1) for w in split_blanks(text)] for text in new]


def test_hashes_equal_those_of_fasttext() -> None:
    golden = {"hello": 1335831723, "world": 933488787, "</s>": 3617362777, "été": 200187927}
    assert hash_words(list(golden)).tolist() == list(golden.values())
    tokens = tokenize(pl.Series(["hello world </s>", "hello"]), PLAIN)
    assert hash_ngrams(tokens, 2, 2_000_000).tolist() == [[1485020], [1298458], [-1], [-1]]
    assert hash_ngrams(tokens, 3, 2_000_000).tolist() == [[1485020, 1159053], [1298458, -1], [-1, -1], [-1, -1]]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=9))
def test_hash_words_equals_the_reference(given: list[str]) -> None:
    assert hash_words(given).tolist() == [fnv(word) for word in given]


@pytest.mark.parametrize("order", [2, 3, 5])
def test_bags_hold_known_words_and_ngrams_that_train_has(order: int) -> None:
    buckets = 97  # few, so that n-grams collide
    train, new = ["a b c d", "", "b c", "e", "a b c a b c"], ["a b zz d", "", "zz", "d c b a", "e"]
    encoder, split = fit(train, PLAIN, Needs("tokens", form="bag", word_ngrams=order, buckets=buckets))
    known = vocabulary([text.split() for text in train])
    seen = sorted({bucket for text in train for bucket in ngrams(text.split(), order, buckets)})
    place = {bucket: len(known) + 2 + i for i, bucket in enumerate(seen)}

    def expected(text: str) -> list[int]:
        grams = [place[bucket] for bucket in ngrams(text.split(), order, buckets) if bucket in place]
        return [known[word] for word in text.split() if word in known] + grams

    assert rows_of(split) == [expected(text) for text in train]
    assert rows_of(encoder.encode(pl.Series(new))) == [expected(text) for text in new]
    assert encoder.facts()["vocab_size"] == 2 + len(known) + len(seen)
    assert encoder.facts()["vocabulary"][2:] == tuple(known)


def test_unknown_words_hash_by_their_own_letters() -> None:
    """Two rare words make another bigram than two other rare words, though both are unknown."""
    train = ["a x y", "a x y", "a p q"]
    needs = Needs("tokens", form="bag", word_ngrams=2, buckets=1000)
    encoder, split = fit(train, Features(tokenizer="whitespace", min_count=3), needs)
    first, second, third = rows_of(split)
    assert encoder.vocabulary == ("", "<unk>", "a")
    assert first == second
    assert first[0] == third[0] == 2
    assert not set(first[1:]) & set(third[1:])


def test_merge_rows() -> None:
    ids, lengths = merge_rows(np.array([1, 2, 3]), np.array([2, 0, 1]), np.array([7, 8]), np.array([0, 2, 0]))
    assert ids.tolist() == [1, 2, 7, 8, 3]
    assert lengths.tolist() == [2, 2, 1]


@pytest.mark.parametrize("tokenizer", ["word", "whitespace", "char"])
@pytest.mark.parametrize("needs", [SEQUENCE, Needs("tokens", form="bag"), Needs("tokens", form="bag", word_ngrams=3, buckets=500)])
def test_state_survives_json(tokenizer: str, needs: Needs) -> None:
    texts = ["it's\na test\x00 👍", "", "a <unk> b", "test"]
    encoder, split = fit(texts, Features(tokenizer=tokenizer), needs)  # type: ignore[arg-type]
    settings_, arrays = encoder.state()
    again = load_encoder(json.loads(json.dumps(settings_)), arrays)
    assert again.vocabulary == encoder.vocabulary
    assert again.facts() == encoder.facts()
    assert again.describe() == encoder.describe()
    for texts_ in (texts, ["new a words", "test\x00"]):
        one, two = encoder.encode(pl.Series(texts_)), again.encode(pl.Series(texts_))
        assert rows_of(one) == rows_of(two)
    assert rows_of(again.encode(pl.Series(texts))) == rows_of(split)


def test_padded_batches() -> None:
    _, split = fit(TEXTS)
    ids = rows_of(split)
    for rows in ([0, 1, 4], [1], [4, 4, 2, 0, 1], [3]):
        batch = split.batch(np.array(rows))
        longest = max(1, *(len(ids[row]) for row in rows)) if len(rows) > 1 else max(1, len(ids[rows[0]]))
        assert batch.tokens_BT is not None
        assert batch.lengths_B is not None
        assert batch.tokens_BT.tolist() == [ids[row] + [0] * (longest - len(ids[row])) for row in rows]
        assert batch.tokens_BT.dtype == torch.int64
        assert batch.lengths_B.tolist() == [len(ids[row]) for row in rows]
        assert batch.ids is None
        assert batch.features_BF is None
        assert batch.partner is None


def test_a_split_of_empty_texts_deals_padding() -> None:
    encoder, _ = fit(TEXTS)
    batch = encoder.encode(pl.Series(["", ""])).batch(np.array([1, 0, 1]))
    assert batch.tokens_BT is not None
    assert batch.tokens_BT.tolist() == [[0], [0], [0]]


def test_partners_share_the_width() -> None:
    _, split = fit(TEXTS)
    mix = np.array([[0.75, 0.25], [1, 0]], np.float32)
    batch = split.batch(np.array([3, 1]), np.array([0, 1]), mix)
    assert batch.partner is not None
    assert batch.mix_B2 is not None
    assert batch.tokens_BT is not None
    assert batch.tokens_BT.tolist() == [[6, 0, 0, 0], [0, 0, 0, 0]]
    assert batch.partner.tokens_BT is not None
    assert batch.partner.tokens_BT.tolist() == [[3, 2, 2, 4], [0, 0, 0, 0]]
    assert batch.span_B.tolist() == [4, 0]
    assert batch.mix_B2.tolist() == mix.tolist()
    assert batch.partner.rows.tolist() == [0, 1]
    assert split.batch(np.array([3, 1]), np.array([3, 1]), np.array([[1, 0], [1, 0]], np.float32)).partner is None


def test_bag_batches() -> None:
    encoder, split = fit(TEXTS, needs=Needs("tokens", form="bag", word_ngrams=2, buckets=100))
    ids = rows_of(split)
    for rows in ([0, 1, 4], [1], [1, 1], [4, 4, 2, 0, 1]):
        batch = split.batch(np.array(rows))
        assert batch.ids is not None
        assert batch.offsets is not None
        assert batch.ids.tolist() == [i for row in rows for i in ids[row]]
        assert batch.offsets.tolist() == np.cumsum([0, *(len(ids[row]) for row in rows)]).tolist()
        assert batch.ids.dtype == batch.offsets.dtype == torch.int64
        assert batch.tokens_BT is None
        assert batch.values is None
    assert int(split.store.tensors["ids"].max()) == encoder.facts()["vocab_size"] - 1


@pytest.mark.parametrize("form", ["sequence", "bag"])
def test_space_is_tfidf_of_known_words(form: str) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["a b b c", "", "x", "c a", "b b y"]
    needs = Needs("tokens", form=form, word_ngrams=2 if form == "bag" else 1, buckets=50)  # type: ignore[arg-type]
    encoder, split = fit(texts, Features(tokenizer="whitespace", min_count=2), needs)
    reference = TfidfVectorizer(analyzer=str.split, vocabulary=list(encoder.vocabulary[2:])).fit_transform(texts)
    space = split.space()
    assert space.shape == (5, len(encoder.vocabulary))
    assert space.dtype == np.float32
    np.testing.assert_allclose(space.toarray()[:, 2:], reference.toarray(), atol=1e-6)
    assert not space[:, :2].nnz
    assert not np.isnan(space.data).any()


def test_by_length_groups_what_is_padded() -> None:
    _, split = fit(TEXTS)
    assert split.by_length().tolist() == [1, 3, 2, 0, 4]
    _, bags = fit(TEXTS, needs=Needs("tokens", form="bag"))
    assert bags.by_length().tolist() == [0, 1, 2, 3, 4]
