"""TF-IDF against scikit-learn's on the same tokens."""

from __future__ import annotations

import json
import random

import numpy as np
import polars as pl
import pytest
import torch

from recipes.data import Features, Needs, Split, load_encoder
from recipes.data.tfidf import TfidfEncoder
from recipes.errors import DataError

DENSE = Needs("dense")


def corpus(rows: int, seed: int) -> list[str]:
    """Words by a steep frequency, a few rows empty."""
    rng = random.Random(seed)
    words = [f"w{i}" for i in range(60)]
    weights = [1 / (i + 1) for i in range(60)]
    return [" ".join(rng.choices(words, weights, k=rng.choice([0, 1, 2, 8, 25]))) for _ in range(rows)]


def terms(text: str, order: int) -> list[str]:
    words = text.split()
    return [" ".join(words[i : i + n]) for n in range(1, order + 1) for i in range(len(words) - n + 1)]


def names(encoder: TfidfEncoder) -> list[str]:
    """The term behind each column, spelt out."""
    levels = [encoder.words]
    for n in range(2, encoder.features.tfidf_ngrams + 1):
        prefix, last = np.divmod(encoder.arrays[f"terms_{n}"], max(1, len(encoder.words)))
        levels.append([f"{levels[-1][p]} {encoder.words[w]}" for p, w in zip(prefix, last, strict=True)])
    flat = [term for level in levels for term in level]
    columns = encoder.arrays["columns"]
    return [flat[i] for i in np.argsort(columns, kind="stable")[int((columns < 0).sum()) :]]


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("min_df", [1, 2, 5])
@pytest.mark.parametrize("sublinear", [True, False])
def test_equals_sklearn(order: int, min_df: int, sublinear: bool) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    train, new = corpus(80, 0), [*corpus(30, 1), "unseen words", "w0 unseen w0 w1", ""]
    features = Features(tokenizer="whitespace", tfidf_ngrams=order, tfidf_min_df=min_df, tfidf_sublinear=sublinear)
    encoder, store, notes = TfidfEncoder.fit(pl.Series(train), features, DENSE)
    assert notes == []
    reference = TfidfVectorizer(analyzer=lambda text: terms(text, order), min_df=min_df, sublinear_tf=sublinear)
    expected = reference.fit_transform(train)
    order_of_columns = [reference.vocabulary_[name] for name in names(encoder)]
    assert sorted(order_of_columns) == list(range(len(reference.vocabulary_)))
    assert encoder.facts() == {"num_features": len(reference.vocabulary_), "sparse_features": True}
    np.testing.assert_allclose(store.space().toarray(), expected.toarray()[:, order_of_columns], atol=1e-6)
    encoded = encoder.encode(pl.Series(new))
    np.testing.assert_allclose(encoded.space().toarray(), reference.transform(new).toarray()[:, order_of_columns], atol=1e-6)
    assert encoded.space().dtype == np.float32


def test_most_frequent_terms_are_kept() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    train = ["a b c a b", "a b d e", "a c c d", "a b", "e c a b c"]  # counts: a 6, b 5, "a b" 5, c 5, then d, e and others by 2
    encoder, store, _ = TfidfEncoder.fit(pl.Series(train), Features(tfidf_max_features=4), DENSE)
    reference = TfidfVectorizer(analyzer=lambda text: terms(text, 2), min_df=2, sublinear_tf=True, max_features=4)
    expected = reference.fit_transform(train)
    assert names(encoder) == ["a", "b", "c", "a b"]
    columns = [reference.vocabulary_[name] for name in names(encoder)]
    np.testing.assert_allclose(store.space().toarray(), expected.toarray()[:, columns], atol=1e-6)
    # "a b" keeps its place though a term of one word more was dropped, and a dropped word still leads to the terms that hold it.
    settings, arrays = encoder.state()
    again = load_encoder(json.loads(json.dumps(settings)), arrays)
    np.testing.assert_array_equal(again.encode(pl.Series(train)).space().toarray(), store.space().toarray())


def test_batches_are_weighted_bags() -> None:
    encoder, store, _ = TfidfEncoder.fit(pl.Series(corpus(40, 2)), Features(), DENSE)
    split = Split("train", store)
    rows = np.array([3, 0, 3, 17, 5])
    batch = split.batch(rows)
    assert batch.ids is not None
    assert batch.offsets is not None
    assert batch.values is not None
    weight = torch.eye(encoder.facts()["num_features"])
    dense = torch.nn.functional.embedding_bag(
        batch.ids, weight, batch.offsets, mode="sum", per_sample_weights=batch.values, include_last_offset=True
    )
    np.testing.assert_array_equal(dense.numpy(), split.space()[rows].toarray())
    assert batch.tokens_BT is None
    assert batch.features_BF is None


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(DataError, match=r"features\.tfidf_min_df"):
        TfidfEncoder.fit(pl.Series(["a", "b", "c"]), Features(), DENSE)
    with pytest.raises(DataError, match=r"features\.tfidf_min_df"):
        TfidfEncoder.fit(pl.Series(["", ""]), Features(tfidf_min_df=1), DENSE)


def test_describe() -> None:
    encoder, _, _ = TfidfEncoder.fit(pl.Series(["a b", "a b", "c"]), Features(), DENSE)
    assert encoder.describe() == "TF-IDF of word 1-2-grams, 3 terms, 2.0 a row"
