"""What a pipeline.yaml may say about one feature; must not know how it is computed nor the tables' settings."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from infra.spec_part import FieldName, Part, refuse

Combiner = Literal["sum", "mean", "sqrtn"]
# An integer is kept as its digits; what it is follows from the field's type.
Word = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]


class _FromOneColumn(Part):
    name: FieldName
    source: FieldName

    @property
    def sources(self) -> tuple[str, ...]:
        """The fields that it reads."""
        return (self.source,)


class IdFeature(_FromOneColumn):
    """Ids, one or several per sample; strings are hashed, integers are keys as they are.

    With a ``vocabulary`` its values alone have rows of their own; all others share one.
    """

    kind: Literal["id"] = "id"
    table: FieldName
    combiner: Literal["sum", "mean", "sqrtn", "none"] = "mean"
    vocabulary: tuple[Word, ...] = ()
    # With combiner none: positions of the block, and which ids of a longer list stand in it.
    length: int = Field(default=0, ge=0, le=4096)
    keep: Literal["first", "last"] = "last"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.vocabulary)) < len(self.vocabulary):
            twice = next(each for each in self.vocabulary if self.vocabulary.count(each) > 1)
            refuse([(("vocabulary",), f"`{twice}` stands in it twice; wanted each value once")])
        if self.combiner == "none" and not self.length:
            refuse([(("combiner",), "`none` wants `length`, how many ids of a sample stand side by side")])
        if self.combiner != "none" and self.length:
            refuse([(("length",), f"unused while `combiner` is {self.combiner}; set none, or leave it out")])
        return self


class CrossFeature(Part):
    """Every combination of one value from each column, as one id."""

    kind: Literal["cross"] = "cross"
    name: FieldName
    sources: tuple[FieldName, ...] = Field(min_length=2, max_length=8)
    table: FieldName
    combiner: Combiner = "mean"


class BucketFeature(_FromOneColumn):
    """Which of the ranges between ascending ``boundaries`` a number is in, as an id; a boundary begins its range."""

    kind: Literal["bucket"] = "bucket"
    table: FieldName
    boundaries: tuple[float, ...] = Field(min_length=1, max_length=10_000)

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not all(map(math.isfinite, self.boundaries)) or any(a >= b for a, b in pairwise(self.boundaries)):
            refuse([(("boundaries",), "wanted finite numbers, each larger than the one before")])
        return self


class NumberFeature(_FromOneColumn):
    """A number, scaled."""

    kind: Literal["number"] = "number"
    scaling: Literal["none", "log", "standard"] = "none"


def _kind(feature: Any) -> Any:
    """Which feature is meant: ids unless it says otherwise."""
    return feature.get("kind", "id") if isinstance(feature, dict) else getattr(feature, "kind", "id")


KeyedFeature = IdFeature | CrossFeature | BucketFeature
Feature = Annotated[
    Annotated[IdFeature, Tag("id")]
    | Annotated[CrossFeature, Tag("cross")]
    | Annotated[BucketFeature, Tag("bucket")]
    | Annotated[NumberFeature, Tag("number")],
    Discriminator(_kind),
]
