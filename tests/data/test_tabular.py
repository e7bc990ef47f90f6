"""Tables to numbers, against scikit-learn's imputer, scaler and one-hot encoder."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.data import Features, Needs, Split, load_encoder
from recipes.data.tabular import TabularEncoder
from recipes.errors import DataError

DENSE = Needs("dense")
TRAIN = pl.DataFrame(
    {
        "age": [20, None, 40, 60, 30, 30],
        "pay": [1.5, 2.5, float("nan"), 1.5, 0.0, 9.0],
        "city": ["x", "y", "x", None, None, "z"],
        "member": [True, False, True, True, None, False],
        "fixed": [0.1] * 6,
    }
)
NEW = pl.DataFrame({"age": [None, 50], "pay": [3.0, None], "city": ["new", "x"], "member": [False, True], "fixed": [0.1, 0.3]})


def fit(frame: pl.DataFrame, **given: Any) -> tuple[TabularEncoder, Split]:
    encoder, store, _ = TabularEncoder.fit(frame, Features(**given), DENSE)
    return encoder, Split("train", store)


def features_of(split: Split) -> np.ndarray:
    return split.store.tensors["features"].numpy()


@pytest.mark.parametrize("impute", ["median", "mean", "zero"])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("indicators", [True, False])
def test_numbers_equal_sklearn(impute: str, standardize: bool, indicators: bool) -> None:
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.preprocessing import StandardScaler

    columns = ["age", "pay", "member", "fixed"]
    encoder, split = fit(TRAIN.select(columns), impute=impute, standardize=standardize, indicators=indicators)
    imputer = SimpleImputer(strategy="constant" if impute == "zero" else impute, fill_value=0.0)
    scaler, marks = StandardScaler(), MissingIndicator()

    def expected(frame: pl.DataFrame, fitting: bool) -> np.ndarray:
        raw = frame.select(pl.col(columns).cast(pl.Float64).fill_nan(None)).to_numpy()
        filled = imputer.fit_transform(raw) if fitting else imputer.transform(raw)
        scaled = scaler.fit_transform(filled) if fitting else scaler.transform(filled)
        values = scaled if standardize else filled
        missing = marks.fit_transform(raw) if fitting else np.isnan(raw)[:, marks.features_]
        if not indicators:
            return values
        return np.column_stack([values[:, 0], missing[:, 0], values[:, 1], missing[:, 1], values[:, 2], missing[:, 2], values[:, 3]])

    np.testing.assert_allclose(features_of(split), expected(TRAIN, True), atol=1e-6)
    np.testing.assert_allclose(features_of(encoder.encode(NEW)), expected(NEW, False), atol=1e-6)
    assert encoder.facts() == {"num_features": 7 if indicators else 4, "category_sizes": ()}
    assert features_of(split).dtype == np.float32


def test_categories_one_hot() -> None:
    """x twice, missing twice; y and z once each share the level that unseen values join."""
    encoder, split = fit(TRAIN.select("city"))
    assert features_of(split).tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [1, 0, 0]]
    assert features_of(encoder.encode(NEW)).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert encoder.facts()["num_features"] == 3


def test_an_unseen_level_is_all_zeros_where_train_has_no_rare_one() -> None:
    encoder, split = fit(pl.DataFrame({"c": ["a", "b", "a", "b", "b"]}))
    assert features_of(split).tolist() == [[0, 1], [1, 0], [0, 1], [1, 0], [1, 0]]
    assert features_of(encoder.encode(pl.DataFrame({"c": ["q", None, "a"]}))).tolist() == [[0, 0], [0, 0], [0, 1]]


def test_categories_embedded() -> None:
    encoder, split = fit(TRAIN.select("age", "city"), categorical="embed")
    assert encoder.facts() == {"num_features": 2, "category_sizes": (3,)}
    batch = split.batch(np.array([0, 1, 3, 5]))
    assert batch.categories_BK is not None
    assert batch.categories_BK.tolist() == [[1], [0], [2], [0]]
    assert batch.categories_BK.dtype == torch.int64
    space = split.space()
    assert space.shape == (6, 5)
    np.testing.assert_array_equal(space[:, :2], features_of(split))
    np.testing.assert_array_equal(space[:, 2:].argmax(1), [1, 0, 1, 2, 2, 0])


def test_levels_by_count_then_name_and_at_most_so_many() -> None:
    column = pl.DataFrame({"c": list("ddccbbba")})
    assert fit(column, category_min_count=1)[0].columns[0].levels == ["b", "c", "d", "a"]
    assert fit(column, category_max_levels=2)[0].columns[0].levels == ["b", "c"]
    assert fit(column)[0].columns[0].levels == ["b", "c", "d"]
    assert fit(column.cast(pl.Categorical))[0].columns[0].levels == ["b", "c", "d"]


def test_one_hot_equals_sklearn_on_common_levels() -> None:
    from sklearn.preprocessing import OneHotEncoder

    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"c": rng.choice(list("abcdefg"), 200), "d": rng.choice(["1", "2"], 200)})
    encoder, split = fit(frame)
    ours = features_of(split)
    reference = OneHotEncoder(sparse_output=False).fit(frame.to_numpy())
    theirs = reference.transform(frame.to_numpy())
    names = [f"x{i}_{level}" for i, column in enumerate(encoder.columns) for level in column.levels or []]
    np.testing.assert_array_equal(ours, theirs[:, [list(reference.get_feature_names_out()).index(name) for name in names]])


def test_columns_may_come_in_any_order_and_among_others() -> None:
    encoder, split = fit(TRAIN)
    shuffled = TRAIN.select("city", pl.lit(1).alias("extra"), "member", "fixed", "pay", "age")
    np.testing.assert_array_equal(features_of(encoder.encode(shuffled)), features_of(split))
    batch = split.batch(np.array([2, 0, 2]))
    assert batch.features_BF is not None
    assert batch.categories_BK is None
    np.testing.assert_array_equal(batch.features_BF.numpy(), features_of(split)[[2, 0, 2]])
    assert split.space() is not None
    assert np.shares_memory(split.space(), features_of(split))


def test_numbers_written_as_strings_and_whole_numbers_pass() -> None:
    encoder, _ = fit(TRAIN)
    rest = {"city": ["x"] * 3}
    strings = {"age": ["50", " 50 ", ""], "pay": ["3", "3.0", None], "member": ["true", "True", ""], "fixed": [1] * 3}
    typed = {"age": [50.0, 50.0, None], "pay": [3, 3, None], "member": [True, True, None], "fixed": [1.0] * 3}
    one, two = (encoder.encode(pl.DataFrame(columns | rest)) for columns in (strings, typed))
    np.testing.assert_array_equal(features_of(one), features_of(two))


def test_missing_columns_are_named() -> None:
    encoder, _ = fit(TRAIN)
    with pytest.raises(DataError, match=r"test: 2 of the columns .* 'age', 'city'") as caught:
        encoder.encode(TRAIN.drop("age").rename({"city": "citty"}), "test")
    assert "'city': did you mean 'citty'?" in str(caught.value)


def test_a_value_that_is_no_number_is_named() -> None:
    encoder, _ = fit(TRAIN)
    with pytest.raises(DataError, match=r"predict: column 'age' holds 'old' in data row 2"):
        encoder.encode(NEW.with_columns(age=pl.Series(["5", "old"])))
    with pytest.raises(DataError, match=r"val: column 'pay', data row 8 \(and 1 more rows\): inf is not finite"):
        encoder.encode(NEW.with_columns(pay=pl.Series([float("inf"), float("-inf")])), "val", rows=np.array([7, 9]))
    with pytest.raises(DataError, match=r"column 'fixed', data row 1: 1e\+300 is too large"):
        encoder.encode(NEW.with_columns(fixed=pl.Series([1e300, 0.1])))
    with pytest.raises(DataError, match=r"train: column 'pay', data row 2: inf is not finite"):
        fit(pl.DataFrame({"pay": [1.0, float("inf")]}))
    with pytest.raises(DataError, match=r"column 'day' holds Date"):
        fit(pl.DataFrame({"day": ["2020-01-01"]}).with_columns(pl.col("day").str.to_date()))


def test_columns_without_a_value_are_left_out_and_said() -> None:
    frame = TRAIN.with_columns(none=pl.lit(None), nan=pl.lit(float("nan")))
    encoder, store, notes = TabularEncoder.fit(frame, Features(), DENSE)
    np.testing.assert_array_equal(store.tensors["features"].numpy(), features_of(fit(TRAIN)[1]))
    assert [note for note in notes if "'none'" in note or "'nan'" in note] == notes
    assert len(notes) == 2
    encoder.encode(TRAIN)
    with pytest.raises(DataError, match="no feature column holds a value"):
        fit(frame.select("none", "nan"))


def test_state_survives_json() -> None:
    for how in ("onehot", "embed"):
        encoder, _ = fit(TRAIN, categorical=how)
        settings_, arrays = encoder.state()
        again = load_encoder(json.loads(json.dumps(settings_)), arrays)
        assert again.facts() == encoder.facts()
        assert again.describe() == encoder.describe()
        for name, tensor in encoder.encode(NEW).store.tensors.items():
            assert torch.equal(again.encode(NEW).store.tensors[name], tensor)
    assert fit(TRAIN)[0].describe() == "4 numeric, 1 one-hot, 3 missing-value indicators: 10 features"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=False), min_size=1, max_size=8))
def test_any_finite_column_gives_finite_features(values: list[float]) -> None:
    frame = pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64), "y": [1.0] * len(values)})
    _, split = fit(frame)
    assert np.isfinite(features_of(split)).all()
    assert np.abs(features_of(split)).max() <= len(values) + 1


def test_pieces_are_the_piecewise_linear_encoding() -> None:
    """Gorishniy et al. 2022, equation 1, with edges at the quantiles of the values and of the distinct values."""
    values = np.array([0.0] * 90 + list(range(1, 11)))
    frame = pl.DataFrame({"gain": values, "flag": [0.0, 1.0] * 50})
    encoder, split = fit(frame, pieces=4, standardize=False)
    edges = np.array([0, 2, 5, 8, 10])  # each quarter of the eleven distinct values; those of all rows are 0 and 10
    found = split.store.space()
    assert found.shape == (100, 1 + 4 + 1)  # two values need no pieces
    x = values[:, None]
    low, high = edges[:-1], edges[1:]
    np.testing.assert_allclose(found[:, 1:5], np.where(x < low, 0, np.where(x >= high, 1, (x - low) / (high - low))), atol=1e-6)
    # Beyond what train has seen, the pieces stay where they were and the number goes on.
    beyond = encoder.encode(pl.DataFrame({"gain": [-5.0, 50.0], "flag": [0.0, 1.0]})).store.space()
    np.testing.assert_allclose(beyond[:, 1:5], [[0] * 4, [1] * 4])
    np.testing.assert_allclose(beyond[:, 0], [-5, 50])
    assert encoder.facts()["num_features"] == 6
