"""The five kinds of error, sorted by what the caller must do; knows no room and no library."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import ClassVar


class SpringtideError(Exception):
    """An error that a person can act on.

    Args:
        what: What went wrong, with the name of the thing and the value got.
        wanted: What would have been right, where that can be said.
        cure: What to do next, as an imperative sentence.
        where: The place: a file with line and column, a topic with partition and offset, an address.
    """

    exit_code: ClassVar[int] = 70
    kind: ClassVar[str] = "bug"

    def __init__(self, what: str, *, wanted: str = "", cure: str = "", where: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.wanted = wanted
        self.cure = cure
        self.where = where

    def __str__(self) -> str:
        text = f"{self.where}  {self.what}" if self.where else self.what
        if self.wanted:
            text += f"; wanted {self.wanted}"
        if self.cure:
            text += f". Cure: {self.cure}"
        return text


class Unavailable(SpringtideError):
    """Something outside does not answer now: retry with backoff."""

    exit_code = 69
    kind = "unavailable"


class Invalid(SpringtideError):
    """The call, the file or the event is wrong: fix it; retrying cannot help."""

    exit_code = 2
    kind = "invalid"


class Corrupt(SpringtideError):
    """Stored bytes are wrong: keep the old version and raise an alert."""

    exit_code = 65
    kind = "corrupt"


class Fenced(SpringtideError):
    """Another writer is alive: stop at once and write nothing more."""

    exit_code = 77
    kind = "fenced"


class Bug(SpringtideError):
    """The code is wrong; the message is for its developers."""
