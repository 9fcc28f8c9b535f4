"""Which columns a model takes and which labels it predicts; knows no protocol and no tables.

The types are those that the pipeline declares for the impression's fields, so that a request is hashed as the
learner hashes the sample: `7` and `"7"` are different ids, and a mistaken type is refused instead of scored.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from infra.errors import Invalid
from infra.spec import FieldType, Pipeline
from kernels.features import FeatureEncoder
from serving.prediction import Column as Values
from serving.refusals import TOO_LARGE, Refused, nearest, shown
from streaming.sample import ARROW_TYPES

# JSON values are taken as they are: no number becomes an id by losing its fraction, no `true` becomes 1.
JSON_TYPES: dict[FieldType, frozenset[type]] = {
    "string": frozenset({str, type(None)}),
    "integer": frozenset({int, type(None)}),
    "number": frozenset({int, float, type(None)}),
    "boolean": frozenset({bool, type(None)}),
    "list[string]": frozenset({str, type(None)}),
    "list[integer]": frozenset({int, type(None)}),
}
INTEGERS: frozenset[type] = frozenset({int})
ROW_TYPES: frozenset[type] = frozenset({list, type(None)})
LARGEST_NUMBER = float(np.finfo(np.float32).max)
# A list that holds for all candidates is small in the request, and as many ids as this once each candidate has it.
MOST_SHARED_IDS: Final = 1 << 22


@dataclass(frozen=True)
class Column:
    """A source column of the features, with the type that the pipeline declares for it."""

    name: str
    type: FieldType

    @cached_property
    def is_list(self) -> bool:
        return self.type.startswith("list[")

    @property
    def arrow_type(self) -> pa.DataType:
        return ARROW_TYPES[self.type]


@dataclass(frozen=True)
class Signature:
    """What a request for one model must hold.

    Attributes:
        model: Name of the model, as it stands in the URL.
        columns: Every source column, in the order of the features.
        labels: What is predicted, in the order of the prediction's columns.
        max_candidates: Most rows in one request.
        user_fields: Columns that most requests send once for all their candidates, as the pipeline says.
    """

    model: str
    columns: tuple[Column, ...]
    labels: tuple[str, ...]
    max_candidates: int
    user_fields: frozenset[str] = frozenset()

    @classmethod
    def of(cls, pipeline: Pipeline) -> Signature:
        """The signature of a pipeline's model.

        Raises:
            Invalid: A feature's source is not a field of the impressions.
        """
        declared = {field.name: field.type for field in pipeline.events.impressions.fields}
        columns: dict[str, Column] = {}
        for feature in pipeline.features:
            for source in feature.sources:
                if source not in declared:
                    raise Invalid(
                        f"features.{feature.name}: no field `{source}`{nearest(source, declared)}",
                        wanted="one of events.impressions.fields",
                    )
                columns[source] = Column(source, declared[source])
        for name in pipeline.serving.user_fields:
            if name not in columns:
                raise Invalid(
                    f"serving.user_fields: no feature reads `{name}`{nearest(name, columns)}",
                    wanted=", ".join(columns),
                )
        return cls(
            model=pipeline.name,
            columns=tuple(columns.values()),
            labels=tuple(feedback.name for feedback in pipeline.events.feedback),
            max_candidates=pipeline.serving.max_candidates,
            user_fields=frozenset(pipeline.serving.user_fields),
        )

    def column(self, name: object) -> Column:
        """The column called ``name``.

        Raises:
            Refused: There is none.
        """
        if isinstance(name, str) and name in self._by_name:
            return self._by_name[name]
        hint = nearest(name, self._by_name) if isinstance(name, str) else ""
        raise Refused(f"unknown input {shown(name)}{hint}", wanted=", ".join(self._by_name))

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    def check(self, columns: Mapping[str, Values], shared: frozenset[str] = frozenset()) -> int:
        """Checks that every column is there once with as many rows as the others; returns the rows.

        Args:
            columns: By name.
            shared: Those of one row that holds for all others'; where all are shared there is one row.

        Raises:
            Refused: A column is missing, lengths differ, there is no row, there are too many, or a shared list is too
                long for so many.
        """
        missing = [column.name for column in self.columns if column.name not in columns]
        if missing:
            raise Refused(
                f"missing input {', '.join(f'`{name}`' for name in missing)}",
                wanted="every input; null where a value is unknown",
            )
        longer = next((name for name in shared if len(columns[name]) != 1), None)
        if longer is not None:
            raise Refused(f"input `{longer}` is shared, but has {len(columns[longer])} rows", wanted="one row")
        lengths = {name: len(values) for name, values in columns.items() if name not in shared} or {"": 1}
        rows = next(iter(lengths.values()))
        odd = next((name for name, length in lengths.items() if length != rows), None)
        if odd is not None:
            first = next(iter(lengths))
            raise Refused(f"input `{odd}` has {lengths[odd]} rows, but `{first}` has {rows}", wanted="equal lengths")
        self.check_rows(rows)
        for name in shared:
            self._check_shared(name, columns[name], rows)
        return rows

    def _check_shared(self, name: str, values: Any, rows: int) -> None:
        if not self.column(name).is_list:
            return
        ids = len(values.flatten())
        if ids * rows > MOST_SHARED_IDS:
            raise Refused(
                f"input `{name}` is shared and holds {ids} values, for {rows} candidates",
                status=TOO_LARGE,
                wanted=f"at most {MOST_SHARED_IDS // rows} values for so many candidates",
                cure="send a shorter list, or the candidates in several requests",
            )

    def check_rows(self, rows: int) -> None:
        """Refuses a request with no row, or with more rows than ``max_candidates``."""
        if rows == 0:
            raise Refused("the request holds no candidate", wanted="at least one row")
        if rows > self.max_candidates:
            raise Refused(
                f"the request holds {rows} candidates",
                status=TOO_LARGE,
                wanted=f"at most {self.max_candidates}",
                cure="send several requests, or raise serving.max_candidates",
            )


def check_encoder(signature: Signature, encoder: FeatureEncoder) -> None:
    """Checks that the features can be made from columns of the declared types.

    Raises:
        Invalid: One cannot.
    """
    try:
        encoder.encode({column.name: pa.array([None], column.arrow_type) for column in signature.columns})
    except (KeyError, ValueError) as error:
        raise Invalid(
            str(error), where="pipeline.yaml", cure="change the feature's kind or the type of its field"
        ) from error


def column_of(column: Column, values: Sequence[object]) -> Values:
    """JSON values of one column; arguments and errors as of :func:`arrow_column`."""
    if column.type == "integer" and set(map(type, values)) == INTEGERS:
        # Nearly every column of a request; Arrow would be told the same, and asked for it again.
        try:
            return np.frombuffer(array("q", cast("Sequence[int]", values)), np.int64)
        except OverflowError:
            pass
    return arrow_column(column, values)


def arrow_column(column: Column, values: Sequence[object]) -> pa.Array:
    """JSON values of one column as an Arrow array of the column's type.

    Args:
        column: The column that the values are for.
        values: One value per row; a list per row for a list column; None is null.

    Raises:
        Refused: A value is of another type, not finite, or too large.
    """
    allowed = JSON_TYPES[column.type]
    if column.is_list:
        _check_types(column, values, ROW_TYPES, f"a {column.type} in every row")
        cells: Sequence[object] = list(itertools.chain.from_iterable(row for row in values if isinstance(row, list)))
    else:
        cells = values
    _check_types(column, cells, allowed, column.type)
    try:
        made = pa.array(values, type=column.arrow_type)
    except (pa.ArrowException, OverflowError) as error:
        raise Refused(f"input `{column.name}`: {error}", wanted=f"values of type {column.type}") from error
    if column.type == "number":
        check_finite(column, made.drop_null().to_numpy(zero_copy_only=False))
    return made


def check_finite(column: Column, numbers: npt.NDArray[np.float64]) -> None:
    """Refuses numbers that float32 cannot hold; the model computes in float32, as the learner did.

    Args:
        column: The column that the numbers are for.
        numbers: Any shape, a floating type.

    Raises:
        Refused: A number is NaN, infinite or beyond float32.
    """
    fits = np.abs(numbers) <= LARGEST_NUMBER
    if not fits.all():
        value = float(numbers[~fits][0])
        raise Refused(f"input `{column.name}` holds {value!r}", wanted="finite numbers within float32; null if unknown")


def _check_types(column: Column, values: Sequence[object], allowed: frozenset[type], wanted: str) -> None:
    if set(map(type, values)) <= allowed:
        return
    row, value = next((row, value) for row, value in enumerate(values) if type(value) not in allowed)
    raise Refused(f"input `{column.name}`, value {row}: got {shown(value)}", wanted=wanted)
