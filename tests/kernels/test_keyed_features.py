"""Vocabularies, buckets and crosses against a plain reference, and what becomes of missing values."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import bisect
import itertools
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.crossing import MOST_COMBINATIONS, cross
from kernels.features import BucketFeature, CrossFeature, FeatureEncoder, IdFeature, NumberFeature
from kernels.settings import Keep
from tests.kernels import reference_hash as reference
from tests.kernels.test_features import as_lists, decoded, key_of, keys, texts

ROWS = 4
scalars = st.one_of(
    st.lists(st.none() | texts, min_size=ROWS, max_size=ROWS).map(lambda v: (pa.string(), v)),
    st.lists(st.none() | keys, min_size=ROWS, max_size=ROWS).map(lambda v: (pa.int64(), v)),
    st.lists(texts, min_size=ROWS, max_size=ROWS).map(lambda v: (pa.string(), v)),
)
lists = st.one_of(
    st.lists(st.none() | st.lists(st.none() | texts, max_size=4), min_size=ROWS, max_size=ROWS).map(
        lambda v: (pa.list_(pa.string()), v)
    ),
    st.lists(st.lists(keys, max_size=4), min_size=ROWS, max_size=ROWS).map(lambda v: (pa.list_(pa.int64()), v)),
)


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        ((0, 0), 537811230735318210),
        ((1, 2), 8739154586042531541),
        ((2, 1), -1210330841088109683),
        ((-1, 7), 6201141153622554154),
        ((1, 2, 3), 17824878756907967),
        (("user 1", "drama"), 4133704890096555319),
        (("user 1", "comedy"), 2360384080507668206),
    ],
)
def test_golden_crosses(parts: tuple[Any, ...], key: int) -> None:
    columns = {f"c{place}": pa.array([value]) for place, value in enumerate(parts)}
    batch = FeatureEncoder([CrossFeature("cross", tuple(columns), "t")]).encode(columns)
    assert decoded(batch) == [[key]]
    assert reference.cross([key_of(value) for value in parts]) == key


@settings(max_examples=200, deadline=None)
@given(columns=st.lists(scalars | lists, min_size=2, max_size=3))
def test_a_cross_is_every_combination(columns: list[tuple[pa.DataType, list[Any]]]) -> None:
    named = {f"c{place}": pa.array(values, kind) for place, (kind, values) in enumerate(columns)}
    batch = FeatureEncoder([CrossFeature("cross", tuple(named), "t", "sum")]).encode(named)
    of_parts = [as_lists(values) for _, values in columns]
    wanted = [
        [reference.cross(parts) for parts in itertools.product(*(part[row] for part in of_parts))]
        for row in range(ROWS)
    ]
    assert decoded(batch) == wanted


def test_a_cross_of_long_lists_keeps_the_first_combinations() -> None:
    long = np.arange(100)
    splits = np.array([0, 100, 100], np.int32)
    crossed, of_rows = cross([(long, splits), (long, splits)])
    assert of_rows is not None and of_rows.tolist() == [0, MOST_COMBINATIONS, MOST_COMBINATIONS]
    pairs = list(itertools.islice(itertools.product(range(100), range(100)), MOST_COMBINATIONS))
    assert crossed.tolist() == [reference.cross(pair) for pair in pairs]


vocabularies = st.one_of(
    st.lists(texts, min_size=1, max_size=5, unique=True).map(tuple),
    st.lists(keys, min_size=1, max_size=5, unique=True).map(tuple),
)


@settings(max_examples=200, deadline=None)
@given(vocabulary=vocabularies, column=scalars | lists)
def test_a_vocabulary_gives_places_and_one_bucket_to_all_else(
    vocabulary: tuple[Any, ...], column: tuple[pa.DataType, list[Any]]
) -> None:
    kind, values = column
    batch = FeatureEncoder([IdFeature("f", "s", "t", vocabulary=vocabulary)]).encode({"s": pa.array(values, kind)})
    places = {key_of(value): place for place, value in enumerate(vocabulary, 1)}
    assert decoded(batch) == [[places.get(key, 0) for key in row] for row in as_lists(values)]


numbers = st.none() | st.floats() | st.integers(-3, 3).map(float)


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(numbers, max_size=8),
    boundaries=st.lists(st.integers(-3, 3).map(float) | st.floats(-1e9, 1e9), min_size=1, max_size=5, unique=True),
)
def test_buckets_begin_at_their_boundaries(values: list[float | None], boundaries: list[float]) -> None:
    rising = tuple(sorted(boundaries))
    encoder = FeatureEncoder([BucketFeature("f", "s", "t", rising)])
    batch = encoder.encode({"s": pa.array(values, pa.float64())})
    known = [value is not None and math.isfinite(value) for value in values]
    wanted = [
        [bisect.bisect_right(rising, value)] if is_known and value is not None else []
        for value, is_known in zip(values, known, strict=True)
    ]
    assert decoded(batch) == wanted
    assert [column.combiner for column in encoder.columns] == ["mean"]


def test_booleans_and_integers_have_buckets() -> None:
    encoder = FeatureEncoder([BucketFeature("f", "s", "t", (0.5, 10.0))])
    assert decoded(encoder.encode({"s": pa.array([True, False, None])})) == [[1], [0], []]
    assert decoded(encoder.encode({"s": pa.array([10, 9, -1])})) == [[2], [1], [0]]


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ValueError, match="twice in the vocabulary: 'a'"):
        IdFeature("f", "s", "t", vocabulary=("a", "b", "a"))
    with pytest.raises(ValueError, match="a cross of 1 columns; wanted two or more"):
        CrossFeature("f", ("a",), "t")
    with pytest.raises(ValueError, match="boundaries must rise"):
        BucketFeature("f", "s", "t", (1.0, 1.0))
    with pytest.raises(ValueError, match="wanted one finite number"):
        BucketFeature("f", "s", "t", (math.nan,))
    encoder = FeatureEncoder([CrossFeature("f", ("a", "b"), "t")])
    with pytest.raises(KeyError, match="feature 'f': no column 'b'; got a"):
        encoder.encode({"a": pa.array(["x"])})
    with pytest.raises(ValueError, match="feature 'f', column 'b': got double; wanted string"):
        encoder.encode({"a": pa.array(["x"]), "b": pa.array([1.5])})


@settings(max_examples=60, deadline=None)
@given(columns=st.lists(scalars | lists, min_size=3, max_size=3), once=st.sets(st.integers(0, 4)))
def test_a_column_of_one_value_stands_for_all_samples(
    columns: list[tuple[pa.DataType, list[Any]]], once: set[int]
) -> None:
    """In every kind of feature, and in crosses of it with columns of all samples."""
    named = {f"c{place}": pa.array(values, kind) for place, (kind, values) in enumerate(columns)}
    named |= {"c3": pa.array([0.5, None, 3.0, -1.0]), "c4": pa.array([1, 2, 3, 4])}
    encoder = FeatureEncoder(
        [
            *(IdFeature(f"id{place}", f"c{place}", "t") for place in range(3)),
            CrossFeature("two", ("c0", "c1"), "t"),
            CrossFeature("three", ("c2", "c1", "c0"), "t"),
            BucketFeature("bucket", "c3", "t", (0.0, 1.0)),
            NumberFeature("plain", "c3"),
            NumberFeature("standard", "c4", "standard"),
        ]
    )
    single = {name: column.slice(1, 1) if int(name[1:]) in once else column for name, column in named.items()}
    whole = {name: pa.concat_arrays([one] * ROWS) if len(one) == 1 else one for name, one in single.items()}
    found, wanted = encoder.encode(single, ROWS), encoder.encode(whole)
    for ids, splits, all_ids, all_splits in zip(found.ids, found.splits, wanted.ids, wanted.splits, strict=True):
        repeated = np.repeat(ids, ROWS) if splits is None and len(ids) == 1 else ids
        np.testing.assert_array_equal(repeated, all_ids)
        np.testing.assert_array_equal(
            np.arange(ROWS + 1) if splits is None else splits, np.arange(ROWS + 1) if all_splits is None else all_splits
        )
    np.testing.assert_array_equal(found.numbers, wanted.numbers)
    np.testing.assert_array_equal(found.unscaled, wanted.unscaled)


@pytest.mark.parametrize(("keep", "kept"), [("first", [1, 2]), ("last", [4, 5])])
def test_a_sequence_that_stands_for_all_samples_is_cut_before_it_is_repeated(keep: Keep, kept: list[int]) -> None:
    encoder = FeatureEncoder([IdFeature("f", "s", "t", "none", length=2, keep=keep)])
    batch = encoder.encode({"s": pa.array([[1, 2, 3, 4, 5]])}, rows=3)
    assert batch.ids[0].tolist() == kept * 3
    assert batch.splits[0] is not None
    assert batch.splits[0].tolist() == [0, 2, 4, 6]
    short = encoder.encode({"s": pa.array([[7]])}, rows=2)
    assert short.ids[0].tolist() == [7, 7]


def test_a_list_that_stands_for_all_samples_is_not_more_ids_than_can_be_counted() -> None:
    encoder = FeatureEncoder([IdFeature("f", "s", "t")])
    column = {"s": pa.array([list(range(1000))])}
    with pytest.raises(ValueError, match="1000 ids for each of 4000000 rows; wanted at most 2147483647 in all"):
        encoder.encode(column, rows=4_000_000)
