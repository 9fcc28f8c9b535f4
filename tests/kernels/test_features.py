"""Columns to ids and numbers: every Arrow form of the same values gives the same batch."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.features import FeatureEncoder, IdFeature, NumberFeature
from tests.kernels import reference_hash as reference

texts = st.text(max_size=8)
keys = st.integers(-(2**63), 2**63 - 1)
id_columns = st.one_of(
    st.lists(st.none() | texts).map(lambda v: (pa.string(), v)),
    st.lists(st.none() | texts).map(lambda v: (pa.large_string(), v)),
    st.lists(st.none() | keys).map(lambda v: (pa.int64(), v)),
    st.lists(st.none() | st.integers(-(2**31), 2**31 - 1)).map(lambda v: (pa.int32(), v)),
    st.lists(st.none() | st.lists(st.none() | texts, max_size=4)).map(lambda v: (pa.list_(pa.string()), v)),
    st.lists(st.none() | st.lists(st.none() | texts, max_size=4)).map(lambda v: (pa.large_list(pa.string()), v)),
    st.lists(st.none() | st.lists(st.none() | keys, max_size=4)).map(lambda v: (pa.list_(pa.int64()), v)),
    st.lists(st.none() | st.lists(st.none() | keys, min_size=2, max_size=2)).map(
        lambda v: (pa.list_(pa.int64(), 2), v)
    ),
)


def key_of(value: str | int) -> int:
    return value if isinstance(value, int) else int(np.uint64(reference.xxh64(value.encode())).astype(np.int64))


def as_lists(values: list[Any]) -> list[list[int]]:
    """What each sample's ids must be."""
    lists = []
    for value in values:
        several = value if isinstance(value, list) else [value]
        lists.append([key_of(one) for one in several if one is not None] if value is not None else [])
    return lists


def decoded(batch: Any, column: int = 0) -> list[list[int]]:
    ids, splits = batch.ids[column], batch.splits[column]
    if splits is None:
        return [[int(key)] for key in ids]
    return [ids[splits[r] : splits[r + 1]].tolist() for r in range(batch.rows)]


@settings(max_examples=300, deadline=None)
@given(column=id_columns, skip=st.integers(0, 4), cut=st.integers(0, 9), chunked=st.booleans())
def test_ids_of_every_arrow_form(column: tuple[pa.DataType, list[Any]], skip: int, cut: int, chunked: bool) -> None:
    kind, values = column
    array = pa.array(values, kind)
    if chunked:
        cut = min(cut, len(values))
        array = pa.chunked_array([array.slice(0, cut), array.slice(cut)], kind)
    skip = min(skip, len(values))
    batch = FeatureEncoder([IdFeature("f", "s", "t")]).encode({"s": array.slice(skip)})
    assert batch.rows == len(values) - skip
    assert batch.ids[0].dtype == np.int64
    assert decoded(batch) == as_lists(values[skip:])
    splits = batch.splits[0]
    if splits is None:
        assert None not in values[skip:]
    else:
        assert splits.dtype == np.int32
        assert (splits[0], splits[-1], len(splits)) == (0, len(batch.ids[0]), batch.rows + 1)


def test_a_null_list_that_covers_values_has_no_ids() -> None:
    offsets, child = pa.array([0, 2, 4], pa.int32()), pa.array([1, 2, 3, 4])
    validity = pa.array([False, True]).buffers()[1]
    array = pa.Array.from_buffers(pa.list_(pa.int64()), 2, [validity, offsets.buffers()[1]], children=[child])
    assert array.to_pylist() == [None, [3, 4]]
    assert decoded(FeatureEncoder([IdFeature("f", "s", "t")]).encode({"s": array})) == [[], [3, 4]]


def test_integers_of_all_widths_are_keys_as_they_are() -> None:
    encoder = FeatureEncoder([IdFeature("f", "s", "t")])
    for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()):
        assert encoder.encode({"s": pa.array([1, 2, None], kind)}).ids[0].tolist() == [1, 2]
    assert encoder.encode({"s": pa.array([2**64 - 1], pa.uint64())}).ids[0].tolist() == [-1]


def test_columns_without_any_value() -> None:
    encoder = FeatureEncoder([IdFeature("f", "s", "t"), NumberFeature("n", "m")])
    batch = encoder.encode({"s": pa.nulls(3), "m": pa.nulls(3)})
    assert decoded(batch) == [[], [], []]
    assert batch.numbers.tolist() == [[0], [0], [0]]
    batch = encoder.encode({"s": pa.array([[], [], None], pa.list_(pa.null())), "m": pa.nulls(3)})
    assert decoded(batch) == [[], [], []]
    batch = encoder.encode({"s": pa.array([], pa.string()), "m": pa.array([], pa.float64())})
    assert (batch.rows, batch.numbers.shape) == (0, (0, 1))


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16()])
def test_numbers_missing_and_not_finite(kind: pa.DataType) -> None:
    values = np.array([1.5, math.nan, math.inf, -math.inf, -2.0], np.float16).astype(kind.to_pandas_dtype())
    array = pa.array(values, kind, mask=np.array([False, False, False, False, False]))
    array = pa.concat_arrays([array, pa.nulls(2, kind)])
    encoder = FeatureEncoder([NumberFeature("a", "s"), NumberFeature("b", "s", "log")])
    batch = encoder.encode({"s": array})
    assert batch.numbers[:, 0].tolist() == [1.5, 0, 0, 0, -2, 0, 0]
    wanted = [math.log1p(1.5), 0, 0, 0, -math.log1p(2), 0, 0]
    np.testing.assert_allclose(batch.numbers[:, 1], wanted, rtol=1e-7)
    assert batch.not_finite == (3, 3)


def test_numbers_of_every_type() -> None:
    encoder = FeatureEncoder([NumberFeature("a", "s")])
    for array in (
        pa.array([True, False, None]),
        pa.array([1, 0, None], pa.int8()),
        pa.array([1, 0, None], pa.uint64()),
        pa.array([1, 0, None], pa.float32()),
        pa.chunked_array([[1.0], [0.0, None]]),
    ):
        batch = encoder.encode({"s": array})
        assert batch.numbers.tolist() == [[1], [0], [0]]
        assert batch.not_finite == (0,)
    assert encoder.encode({"s": pa.array([2**63 - 1])}).numbers.tolist() == [[2.0**63]]


def test_a_number_beyond_float32_is_missing_unless_its_logarithm_fits() -> None:
    encoder = FeatureEncoder([NumberFeature("a", "s"), NumberFeature("b", "s", "log")])
    batch = encoder.encode({"s": pa.array([1e300, -1e300])})
    assert batch.numbers[:, 0].tolist() == [0, 0]
    np.testing.assert_allclose(batch.numbers[:, 1], [math.log(1e300), -math.log(1e300)], rtol=1e-6)
    assert batch.not_finite == (2, 0)


def test_features_keep_their_order_and_may_share_a_column() -> None:
    encoder = FeatureEncoder(
        [
            NumberFeature("n", "price"),
            IdFeature("user", "u", "users"),
            IdFeature("item", "i", "items", "sum"),
            IdFeature("item_again", "i", "other"),
        ]
    )
    assert encoder.sources == ("price", "u", "i")
    assert [(c.name, c.table, c.combiner) for c in encoder.columns] == [
        ("user", "users", "mean"),
        ("item", "items", "sum"),
        ("item_again", "other", "mean"),
    ]
    assert encoder.numbers == 1
    batch = encoder.encode({"i": pa.array([3]), "u": pa.array(["x"]), "price": pa.array([2.0]), "more": pa.array([1])})
    assert [ids.tolist() for ids in batch.ids] == [[key_of("x")], [3], [3]]


def test_errors_name_feature_column_and_types() -> None:
    encoder = FeatureEncoder([IdFeature("user", "u", "t"), NumberFeature("price", "p")])
    good = {"u": pa.array(["x"]), "p": pa.array([1.0])}
    with pytest.raises(KeyError, match="feature 'price': no column 'p'; got u"):
        encoder.encode({"u": good["u"]})
    with pytest.raises(ValueError, match="feature 'user', column 'u': got double; wanted string, integer"):
        encoder.encode({**good, "u": pa.array([1.5])})
    with pytest.raises(ValueError, match=r"feature 'user', column 'u': got list<item: double>; wanted string"):
        encoder.encode({**good, "u": pa.array([[1.5]])})
    with pytest.raises(ValueError, match="feature 'price', column 'p': got string; wanted integer, floating point"):
        encoder.encode({**good, "p": pa.array(["1"])})
    with pytest.raises(ValueError, match="feature 'user', column 'u': got ndarray; wanted a pyarrow Array"):
        encoder.encode({**good, "u": np.array(["x"])})
    with pytest.raises(ValueError, match="columns must have one length; got u 2, p 1"):
        encoder.encode({**good, "u": pa.array(["x", "y"])})
    with pytest.raises(ValueError, match="twice: a"):
        FeatureEncoder([IdFeature("a", "u", "t"), NumberFeature("a", "p")])
    with pytest.raises(ValueError, match="feature 'a': scaling 'square'; wanted one of none, log, standard"):
        NumberFeature("a", "s", "square")  # type: ignore[arg-type]
