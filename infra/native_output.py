"""Keeps what native libraries write to standard error out of a log of one line per event; knows no library."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STANDARD_ERROR = 2


@contextmanager
def silenced() -> Iterator[None]:
    """Within it, what is written to standard error is dropped; our own events go on, from every thread.

    A library whose notes cannot be switched off otherwise is called in it, and nothing else: a crash would be silent.
    """
    kept = os.dup(STANDARD_ERROR)
    nothing = os.open(os.devnull, os.O_WRONLY)
    with os.fdopen(os.dup(kept), "w", encoding="utf-8", buffering=1) as way_out:
        handlers = [one for one in logging.getLogger().handlers if isinstance(one, logging.StreamHandler)]
        ours = [one for one in handlers if _descriptor(one.stream) == STANDARD_ERROR]
        moved: list[tuple[logging.StreamHandler[Any], Any]] = [(one, one.setStream(way_out)) for one in ours]
        os.dup2(nothing, STANDARD_ERROR)
        try:
            yield
        finally:
            os.dup2(kept, STANDARD_ERROR)
            for handler, stream in moved:
                handler.setStream(stream)
            os.close(nothing)
            os.close(kept)


def _descriptor(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return None
