"""Words and characters side by side, held against scikit-learn's TfidfVectorizer on both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import scipy.sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from recipes.data.encoder import encoder_class, load_encoder
from recipes.data.facts import Needs
from recipes.data.features import Features
from recipes.data.tfidf_joint import JointTfidfEncoder

TEXTS = pl.Series(["the cat sat", "the dog sat down", "cats and dogs", "", "sat the the cat!", "naïve café cat"])
NEW = pl.Series(["the catfish", "zzz", "", "café dog"])
FEATURES = Features(tfidf_chars=3, tfidf_ngrams=2, tfidf_min_df=1)
NEEDS = Needs("dense")


def oracle(train: pl.Series, rows: pl.Series) -> scipy.sparse.csr_matrix:
    """Rows of both vectorizers, in any order of columns."""
    settings = {"sublinear_tf": True, "min_df": 1, "token_pattern": r"\w+|[^\w\s]", "lowercase": True}
    words = TfidfVectorizer(ngram_range=(1, 2), **settings).fit(train.to_list())
    chars = TfidfVectorizer(ngram_range=(1, 3), analyzer="char", sublinear_tf=True).fit(train.to_list())
    return scipy.sparse.hstack([words.transform(rows.to_list()), chars.transform(rows.to_list())]).tocsr() / np.sqrt(2)


@pytest.mark.parametrize("rows", [TEXTS, NEW], ids=["train", "new"])
def test_it_is_both_vectorizers_at_equal_weight(rows: pl.Series) -> None:
    encoder, train, _ = JointTfidfEncoder.fit(TEXTS, FEATURES, NEEDS)
    found = (train if rows is TEXTS else encoder.store(rows)[0]).space()
    expected = oracle(TEXTS, rows)
    assert found.shape == expected.shape
    # Products of rows do not depend on the order of the columns.
    np.testing.assert_allclose((found @ found.T).toarray(), (expected @ expected.T).toarray(), atol=1e-6)
    assert encoder.facts() == {"num_features": expected.shape[1], "sparse_features": True}


def test_it_survives_saving() -> None:
    encoder, _, _ = JointTfidfEncoder.fit(TEXTS, FEATURES, NEEDS)
    again = load_encoder(*encoder.state())
    assert isinstance(again, JointTfidfEncoder)
    np.testing.assert_array_equal(again.store(NEW)[0].space().toarray(), encoder.store(NEW)[0].space().toarray())
    assert again.describe() == encoder.describe()


def test_the_setting_chooses_it_for_dense_models_on_text_only() -> None:
    assert encoder_class("text", NEEDS, FEATURES) is JointTfidfEncoder
    assert encoder_class("text", NEEDS, replace(FEATURES, tfidf_chars=None)) is not JointTfidfEncoder
    assert encoder_class("text", Needs("tokens"), FEATURES) is not JointTfidfEncoder
    assert encoder_class("tabular", NEEDS, FEATURES) is not JointTfidfEncoder


def test_either_half_is_bounded() -> None:
    encoder, _, _ = JointTfidfEncoder.fit(TEXTS, replace(FEATURES, tfidf_max_features=4), NEEDS)
    assert encoder.facts()["num_features"] == 8
