"""Which columns of the impressions become features, and of which kind; knows columns, not what they mean."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from infra.spec import RESERVED_FIELDS, FieldType
from infra.spec_checks import LABEL_PREFIX
from springtide.survey.columns import NAME, Column, Table
from springtide.survey.times import looks_like_time

Kind = Literal["id", "number"]

# Whole numbers of so few values are codes, not amounts.
CODES: Final = 12
# Another value in nearly every one of so many messages names the event itself.
ENOUGH: Final = 100
UNIQUE: Final = 0.99
LONGEST_ID: Final = 64
_PATH: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62}){0,7}")
_ID_NAME: Final = re.compile(r"(^|_)(id|key|code|zip)s?$|[a-z](Id|ID)s?$", re.I)
# What such a column names is seen again, even where a thousand messages show each value once.
_SEEN_AGAIN: Final = re.compile(
    r"user|member|customer|account|visitor|device|item|product|article|film|movie|video|song|track|news|doc|ad(_|$)|"
    r"campaign|creative|advertiser|query|host|publisher|seller|author|place|hotel|listing",
    re.I,
)


@dataclass(frozen=True)
class Proposal:
    """A field of the impressions and the feature made of it.

    Attributes:
        name: The field's and the feature's name.
        path: Where it lies in the message.
        type: Of the field.
        kind: Of the feature.
        scaling: Of a number.
        about: What was seen of it.
    """

    name: str
    path: str
    type: FieldType
    kind: Kind
    scaling: Literal["none", "log", "standard"]
    about: str


@dataclass(frozen=True)
class LeftOut:
    """A column that makes no feature, and why."""

    path: str
    why: str


def propose(shown: Table, *, taken: Iterable[str]) -> tuple[list[Proposal], list[LeftOut]]:
    """What the columns of the impressions are good for.

    Args:
        shown: The impressions.
        taken: Columns with another part: key and time.
    """
    proposals: list[Proposal] = []
    left: list[LeftOut] = []
    names: set[str] = set()
    for column in shown.columns.values():
        if column.path in set(taken):
            continue
        why = _unfit(column, len(shown))
        name = _free_name(column.path, names)
        if why is None and name is None:
            why = "no free name for it"
        if why is not None or name is None:
            left.append(LeftOut(column.path, why or ""))
            continue
        names.add(name)
        proposals.append(_proposal(column, name, len(shown)))
    return proposals, left


def _unfit(column: Column, messages: int) -> str | None:
    """Why a column makes no feature; None where it does."""
    if not _PATH.fullmatch(column.path):
        return "its name has other characters than letters, digits and `_`"
    if column.type is None:
        return "neither text, number, boolean nor a list of one kind of them"
    if looks_like_time(column):
        return "a time"
    if column.distinct < 2:
        return "one value in all messages"
    if column.type == "string" and not _SEEN_AGAIN.search(_last(column)):
        return _never_again(column, messages)
    return None


def _never_again(column: Column, messages: int) -> str | None:
    """Why the values of a text will not be seen again; None where they may."""
    if statistics.median(len(str(value)) for _, value in column.values) > LONGEST_ID:
        return "long text"
    if len(column.values) >= ENOUGH and column.distinct >= UNIQUE * len(column.values):
        return f"another value in each of {messages:,} messages, so it names the event itself"
    return None


def _proposal(column: Column, name: str, messages: int) -> Proposal:
    kind = column.type
    assert kind is not None
    about = f"{column.distinct:,} values"
    if len(column.values) < messages:
        about += f", in {len(column.values) / messages:.0%} of the messages"
    if kind.startswith("list") or kind == "string" or (kind == "integer" and _is_id(column)):
        return Proposal(name, column.path, kind, "id", "none", about)
    if kind == "boolean":
        return Proposal(name, column.path, kind, "number", "none", about)
    numbers = sorted(float(value) for _, value in column.values)
    middle = statistics.median(numbers)
    about = f"{numbers[0]:.4g} to {numbers[-1]:.4g}, median {middle:.4g}" + about.partition(" values")[2]
    # A few huge values would make all others alike.
    skewed = numbers[0] >= 0 and numbers[-1] > 100 * max(middle, 1e-9) and numbers[-1] > 1
    return Proposal(name, column.path, kind, "number", "log" if skewed else "standard", about)


def _is_id(column: Column) -> bool:
    """Whether whole numbers are names rather than amounts."""
    if _ID_NAME.search(_last(column)) or column.distinct <= CODES:
        return True
    return bool(_SEEN_AGAIN.search(_last(column))) and column.distinct > len(column.values) / 4


def _last(column: Column) -> str:
    """The column's own name, without those of what it lies in."""
    return column.path.rpartition(".")[2]


def _free_name(path: str, names: set[str]) -> str | None:
    """A field's name for the attribute at ``path``, which no other field and no column of a sample has."""
    plain = path.replace(".", "_")
    for name in (plain, f"shown_{plain}"):
        reserved = name in RESERVED_FIELDS or name.startswith(LABEL_PREFIX)
        if name not in names and not reserved and NAME.fullmatch(name):
            return name
    return None
