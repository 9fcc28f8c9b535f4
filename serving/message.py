"""Messages of a head in JSON and the arrays that it names, as bytes and back; knows no message's meaning.

The head says of every field what it is, and of all that follows it how long it is. What is not as it says is refused
whole, before anything is made of it; nothing in a message names code.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import struct
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from checkpointing.layout import NumpyDtype
from infra.errors import Corrupt, Invalid
from serving.handover import WHERE

# Raised with every change of what messages say.
FORM: Final = 2
MARK: Final = b"STPM"
# Mark, form, bytes of the head.
START: Final = struct.Struct("<4sHI")

Array = npt.NDArray[Any]
Count = Annotated[int, Field(ge=0, lt=1 << 63)]


class Part(BaseModel):
    """What a head consists of: no field may be missing, too much, or of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ArrayOf(Part):
    """An array that follows the head; its size follows from this."""

    type: NumpyDtype
    shape: Annotated[tuple[Count, ...], Field(max_length=16)]


class Writing:
    """A message in the making: what follows its head, in the order in which the reader takes it."""

    def __init__(self) -> None:
        self._following: list[bytes] = []

    def array(self, array: Array) -> ArrayOf:
        """Adds an array; returns what the head has to say of it.

        Raises:
            Corrupt: It holds what is no number.
        """
        self._following.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        try:
            return ArrayOf.model_validate({"type": array.dtype.name, "shape": array.shape})
        except ValidationError as error:
            raise Corrupt(f"an array of {array.dtype}", wanted="numbers", where=WHERE) from error

    def content(self, content: bytes) -> int:
        """Adds bytes; returns what the head has to say of them."""
        self._following.append(content)
        return len(content)

    def message(self, head: BaseModel) -> bytes:
        """All of it."""
        words = head.model_dump_json().encode()
        return b"".join((START.pack(MARK, FORM, len(words)), words, *self._following))


class Reading:
    """What follows the head of a message, taken in order."""

    def __init__(self, following: memoryview) -> None:
        self._left = following

    def array(self, told: ArrayOf) -> Array:
        """The next array, in memory of its own.

        Raises:
            Corrupt: The message ends before it, or no memory could hold it.
        """
        dtype = np.dtype(told.type).newbyteorder("<")
        content = self.content(math.prod(told.shape) * dtype.itemsize)
        try:
            return np.frombuffer(bytearray(content), dtype).reshape(told.shape)
        except ValueError as error:
            raise Corrupt(f"an array of shape {told.shape}: {error}", where=WHERE) from error

    def content(self, size: int) -> bytes:
        """The next bytes.

        Raises:
            Corrupt: The message ends before them.
        """
        if size > len(self._left):
            raise Corrupt(f"a message that ends {size - len(self._left)} bytes too early", where=WHERE)
        content = bytes(self._left[:size])
        self._left = self._left[size:]
        return content

    def end(self) -> None:
        """To be called once all is taken.

        Raises:
            Corrupt: There is more.
        """
        if self._left:
            raise Corrupt(f"a message with {len(self._left)} bytes after its end", where=WHERE)


def read(message: bytes, heads: TypeAdapter[Any]) -> tuple[Any, Reading]:
    """The head of a message and what follows it.

    Args:
        message: As :meth:`Writing.message` made it, or so one hopes.
        heads: What the head may be.

    Raises:
        Corrupt: It is no message, is cut short, or its head is none of these.
        Invalid: It is of another release.
    """
    try:
        mark, form, size = START.unpack_from(message)
    except struct.error as error:
        raise Corrupt(f"a message of {len(message)} bytes", wanted=f"at least {START.size}", where=WHERE) from error
    if mark != MARK:
        raise Corrupt(f"a message that begins with {mark!r}", wanted=repr(MARK), where=WHERE)
    if form != FORM:
        raise Invalid(
            f"a message of form {form}",
            wanted=f"form {FORM}",
            cure="restart the replica: its processes must be of one release",
            where=WHERE,
        )
    reading = Reading(memoryview(message)[START.size :])
    words = reading.content(size)
    try:
        return heads.validate_json(words, strict=True), reading
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "head"
        raise Corrupt(f"a message whose {field} is wrong: {first['msg']}", where=WHERE) from error
