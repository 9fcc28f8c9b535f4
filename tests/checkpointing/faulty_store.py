"""A store wrapper that fails before or after the write, delays, repeats and contends as it is told, and counts."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import builtins
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Literal

from infra.errors import Unavailable
from infra.object_store import AlreadyExists, ObjectStore
from infra.object_store.contract import Data, Entry

# fine; refused before anything happens; done, but the reply is lost; refused, and done later after all; done twice by
# the client, which then reports its own write as a conflict; reported as a conflict though nothing is there.
Fault = Literal["none", "before", "after", "later", "twice", "contended"]


class FaultyStore:
    """Takes one fault from ``faults`` for each request, none when they are used up; safe for threads."""

    def __init__(self, inner: ObjectStore, faults: Iterator[Fault] | None = None) -> None:
        self.inner = inner
        self.faults = faults or iter(())
        self.counts: Counter[str] = Counter()
        self._later: builtins.list[Callable[[], None]] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return self.inner.url

    def land_later(self) -> None:
        """Lands one of the writes that are still on their way."""
        if self._later:
            self._later.pop(0)()

    def put(self, key: str, data: Data) -> None:
        self._write("put", key, lambda: self.inner.put(key, data))

    def create(self, key: str, data: Data) -> None:
        self._write("create", key, lambda: self.inner.create(key, data))

    def get(self, key: str) -> bytes:
        self._read("get")
        return self.inner.get(key)

    def get_range(self, key: str, start: int, end: int) -> bytes:
        self._read("get")
        return self.inner.get_range(key, start, end)

    def head(self, key: str) -> int | None:
        self._read("head")
        return self.inner.head(key)

    def list(self, prefix: str, after: str | None = None) -> builtins.list[str]:
        self._read("list")
        return self.inner.list(prefix, after)

    def entries(self, prefix: str) -> builtins.list[Entry]:
        self._read("list")
        return self.inner.entries(prefix)

    def delete(self, key: str) -> None:
        self._write("delete", key, lambda: self.inner.delete(key))

    def exists(self, key: str) -> bool:
        return self.head(key) is not None

    def _next(self, request: str) -> Fault:
        with self._lock:
            self.counts[request] += 1
            return next(self.faults, "none")

    def _read(self, request: str) -> None:
        if self._next(request) in ("before", "after", "later"):
            raise Unavailable(f"{request} failed on purpose")

    def _write(self, request: str, key: str, write: Callable[[], None]) -> None:
        fault = self._next(request)
        if fault == "before":
            raise Unavailable(f"{request} {key} failed on purpose")
        if fault == "later":
            self._later.append(lambda: _ignoring_conflicts(write))
            raise Unavailable(f"{request} {key} is on its way")
        if fault == "contended" and request == "create":
            raise AlreadyExists(key)
        write()
        if fault == "after":
            raise Unavailable(f"the reply to {request} {key} was lost")
        if fault == "twice":
            write()


def _ignoring_conflicts(write: Callable[[], None]) -> None:
    try:
        write()
    except AlreadyExists:
        return
