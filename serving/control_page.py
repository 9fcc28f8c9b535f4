"""The one number by which all processes of a replica switch at once; knows no version and nobody's turn."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import mmap
import os
from multiprocessing.reduction import DupFd
from typing import Any, Self


class ControlPage:
    """A number in memory that processes share: one writes, all read, nobody waits.

    Pickled for a process that is being started, it is the same page there.
    """

    def __init__(self, file: int | None = None) -> None:
        """Makes a page that holds 0, or maps the one behind ``file``, which becomes this object's own."""
        if file is None:
            file = os.memfd_create("springtide-control", os.MFD_CLOEXEC)
            os.ftruncate(file, mmap.PAGESIZE)
        self._file = file
        # Eight aligned bytes are read and written whole.
        self._numbers = memoryview(mmap.mmap(file, mmap.PAGESIZE)).cast("Q")

    @property
    def number(self) -> int:
        """The number published last; 0 before the first."""
        return self._numbers[0]

    def publish(self, number: int) -> None:
        """From here on every process reads ``number``."""
        self._numbers[0] = number

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._arrived, (DupFd(self._file),)

    @classmethod
    def _arrived(cls, file: Any) -> Self:
        return cls(file.detach())
