"""What the follower and a predictor tell each other of versions, as bytes and back; knows no socket."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeAlias

import numpy.typing as npt
from pydantic import Field, TypeAdapter

from serving.dense_program import PortableGraph
from serving.message import ArrayOf, Count, Part, Reading, Writing, read
from serving.program import PortableProgram
from serving.told_program import ProgramHead, program_head, told_program

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Prepare:
    """A version that the predictor shall have ready, under the number by which all will switch to it.

    Attributes:
        sequence: That number.
        version: The version's own.
        committed_ts: When it was committed, milliseconds.
        statistics: State of its running statistics.
        program: Its dense program.
        layout: Of its rows, in the files that come with the message.
    """

    sequence: int
    version: int
    committed_ts: int
    statistics: Mapping[str, Array]
    program: PortableProgram | PortableGraph
    layout: tuple[int, ...]


class Keep(Part):
    """What was switched to; of the versions that the predictor has, these go on being asked for by number."""

    kind: Literal["keep"] = "keep"
    sequences: tuple[Count, ...]


class Ready(Part):
    """The predictor has a version ready."""

    kind: Literal["ready"] = "ready"
    sequence: Count


class Refused(Part):
    """The predictor cannot have a version ready."""

    kind: Literal["refused"] = "refused"
    sequence: Count
    reason: str


Told: TypeAlias = Prepare | Keep
Answer: TypeAlias = Ready | Refused


class _Prepare(Part):
    kind: Literal["prepare"] = "prepare"
    sequence: Count
    version: Count
    committed_ts: Count
    layout: tuple[Annotated[int, Field(ge=0, lt=1 << 64)], ...]
    statistics: dict[str, ArrayOf]
    program: ProgramHead


_TOLD: Final[TypeAdapter[_Prepare | Keep]] = TypeAdapter(Annotated[_Prepare | Keep, Field(discriminator="kind")])
_ANSWER: Final[TypeAdapter[Answer]] = TypeAdapter(Annotated[Ready | Refused, Field(discriminator="kind")])


def encoded(message: Told | Answer) -> bytes:
    """The message as bytes; the files that go with a :class:`Prepare` are its snapshot's.

    Raises:
        Corrupt: It holds an array that is not of numbers.
    """
    writing = Writing()
    if not isinstance(message, Prepare):
        return writing.message(message)
    head = _Prepare(
        sequence=message.sequence,
        version=message.version,
        committed_ts=message.committed_ts,
        layout=message.layout,
        statistics={name: writing.array(array) for name, array in message.statistics.items()},
        program=program_head(message.program, writing),
    )
    return writing.message(head)


def told(message: bytes) -> Told:
    """What the follower says.

    Raises:
        Corrupt: The bytes are no such message.
        Invalid: They are of another release.
    """
    head, reading = read(message, _TOLD)
    found = head if isinstance(head, Keep) else _prepare(head, reading)
    reading.end()
    return found


def answer(message: bytes) -> Answer:
    """What a predictor says; errors as of :func:`told`."""
    head, reading = read(message, _ANSWER)
    reading.end()
    found: Answer = head
    return found


def _prepare(head: _Prepare, reading: Reading) -> Prepare:
    statistics = {name: reading.array(array) for name, array in head.statistics.items()}
    program = told_program(head.program, reading)
    return Prepare(head.sequence, head.version, head.committed_ts, statistics, program, head.layout)
