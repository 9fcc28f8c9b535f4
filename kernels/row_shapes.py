"""Rows that several keys share: settings, and the tables in which such an id space is kept; must not know the spec."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, get_args

from kernels.lifecycle_settings import AdmissionSettings, EvictionSettings

if TYPE_CHECKING:
    from kernels.settings import TableSettings

Combine = Literal["add", "multiply", "concat"]
COMBINES: Final[tuple[Combine, ...]] = get_args(Combine)

SHARED: Final = "__shared"
QUOTIENT: Final = "__quotient"
REMAINDER: Final = "__remainder"
LONGEST_NAME: Final = 63


@dataclass(frozen=True)
class AdaptiveRows:
    """Keys that have no row of their own yet share ``rows`` static ones, by hash; kernels/ROW_SHAPES.md.

    A cold key, one that its table's admission refuses, reads as its shared row and trains that. When it is admitted,
    its own row begins with the shared row's values.
    """

    rows: int

    def __post_init__(self) -> None:
        if not 1 <= self.rows < 2**32:
            raise ValueError(f"adaptive rows {self.rows}; wanted 1 to 2^32 - 1")


@dataclass(frozen=True)
class MultiHash:
    """A key's row is made of two, those of its quotient and of its remainder; kernels/ROW_SHAPES.md.

    With k = key mod (quotients · remainders), key taken as unsigned: quotient k div ``remainders``, remainder k mod
    ``remainders``. Keys below the product have distinct pairs, and so rows of their own in all but memory.
    """

    quotients: int
    remainders: int
    combine: Combine = "add"

    def __post_init__(self) -> None:
        if self.quotients < 1 or self.remainders < 1 or self.quotients * self.remainders >= 2**63:
            raise ValueError(
                f"multi-hash of {self.quotients} quotients and {self.remainders} remainders; wanted at least 1 of each"
                " and a product below 2^63"
            )
        if self.combine not in COMBINES:
            raise ValueError(f"multi-hash combine {self.combine!r}; wanted one of {', '.join(COMBINES)}")


def check_row_shape(table: TableSettings) -> None:
    """Refuses what does not fit together.

    Raises:
        ValueError: Settings that contradict each other or would never be used.
    """
    where = f"table {table.name!r}: "
    if table.adaptive is not None and table.multi_hash is not None:
        raise ValueError(f"{where}adaptive rows and multi-hash; a multi-hash has no cold keys, wanted one of the two")
    if table.adaptive is not None:
        if table.admission.kind == "always":
            raise ValueError(
                f"{where}adaptive rows would never be used: admission `always` gives each key a row of its own at once;"
                " wanted counter, bloom or probability"
            )
        if table.admission.not_admitted:
            raise ValueError(f"{where}not_admitted would never be read: with adaptive rows a refused key reads as one")
    if table.multi_hash is not None and table.multi_hash.combine == "concat":
        if table.dim % 2:
            raise ValueError(f"{where}dim {table.dim} of two parts side by side; wanted an even one")
        if any(rung.dim >= table.dim // 2 for rung in table.ladder):
            raise ValueError(f"{where}each part has dim {table.dim // 2}; the ladder must stay below it")
    if table.adaptive is not None or table.multi_hash is not None:
        longest = max((stored.name for stored in stored_tables(table)), key=len)
        if len(longest) > LONGEST_NAME:
            raise ValueError(f"{where}rows are kept in a table {longest!r}; wanted at most {LONGEST_NAME} characters")


def stored_tables(table: TableSettings) -> tuple[TableSettings, ...]:
    """The tables, by names of their own, in which the rows of ``table`` are kept: itself, or itself and the one of the
    shared rows, or those of the two parts."""
    plain = replace(table, adaptive=None, multi_hash=None) if table.adaptive or table.multi_hash else table
    if table.adaptive is not None:
        # Static: all stay, and none has more coordinates than an own row begins with.
        shared = replace(
            plain,
            name=table.name + SHARED,
            dim=table.dims[0],
            ladder=(),
            admission=AdmissionSettings(),
            eviction=EvictionSettings(),
        )
        return plain, shared
    if table.multi_hash is not None:
        dim = table.dim // 2 if table.multi_hash.combine == "concat" else table.dim
        return tuple(replace(plain, name=table.name + part, dim=dim) for part in (QUOTIENT, REMAINDER))
    return (table,)
