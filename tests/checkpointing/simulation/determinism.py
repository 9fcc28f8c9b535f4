"""Takes chance and threads out of the code under test, so that a seed is a run; restores them afterwards."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import checkpointing.base
import checkpointing.boundary
import checkpointing.claim
import checkpointing.compact
import checkpointing.control
import checkpointing.download
import checkpointing.history
import checkpointing.lease
import checkpointing.link
import checkpointing.manifest
import checkpointing.pending
import checkpointing.unpack
import checkpointing.writer
import infra.backoff
from checkpointing import signed
from tests.checkpointing.simulation.weather import GRACE_S

MODULES: tuple[Any, ...] = (
    checkpointing.claim,
    checkpointing.compact,
    checkpointing.control,
    checkpointing.lease,
    checkpointing.pending,
    checkpointing.writer,
)
READERS: tuple[Any, ...] = (
    checkpointing.base,
    checkpointing.boundary,
    checkpointing.control,
    checkpointing.lease,
    checkpointing.manifest,
)


def remembered(function: Callable[..., Any], key: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of frozen values, which is called once for each ``key``."""
    known: dict[Any, Any] = {}

    def remembering(*args: Any, **named: Any) -> Any:
        place = key(*args, **named)
        if place not in known:
            known[place] = function(*args, **named)
        return known[place]

    return remembering


class _Files:
    """The files of a link, read once."""

    dump_json = staticmethod(checkpointing.link._FILES.dump_json)

    def __init__(self) -> None:
        self.validate_json = remembered(checkpointing.link._FILES.validate_json, lambda data, strict: data)


class _Silence:
    def __getattr__(self, _: str) -> Any:
        return lambda *args, **fields: None


@contextlib.contextmanager
def numbered() -> Iterator[None]:
    """Identifiers that count from one: a run's own, whichever runs came before it."""
    numbers = itertools.count(1)
    with contextlib.ExitStack() as stack:
        for module in MODULES:
            stack.enter_context(patch.object(module, "new_uuid", lambda: f"{next(numbers):032x}"))
        yield


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """No jitter, no threads, no log, nothing read twice; for any number of runs, each of them :func:`numbered`."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(patch.object(checkpointing.history, "THREADS", 1))
        stack.enter_context(patch.object(checkpointing.lease, "GRACE_S", GRACE_S))
        # Reading is a function of the bytes, and nine tenths of a run's time if everyone does it anew.
        read = remembered(signed.from_signed_json, lambda kind, data, **_: (kind, data))
        for module in READERS:
            stack.enter_context(patch.object(module, "from_signed_json", read))
        unpack = remembered(
            checkpointing.unpack.unpack,
            lambda source, files, serving_only: (source.version, *files.items(), serving_only),
        )
        stack.enter_context(patch.object(checkpointing.download, "unpack", unpack))
        stack.enter_context(patch.object(checkpointing.link, "_FILES", _Files()))
        stack.enter_context(patch.object(infra.backoff, "_log", _Silence()))
        defaults = dict(infra.backoff.Backoff.__init__.__kwdefaults__ or {}, jitter=lambda: 0.5)
        stack.enter_context(patch.object(infra.backoff.Backoff.__init__, "__kwdefaults__", defaults))
        yield
