"""A store whose clock is a test's, so that an hour of age takes no hour; knows no format."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import builtins
from dataclasses import replace

from infra.clock import Clock
from infra.object_store import ObjectStore
from infra.object_store.contract import Data, Entry


class AgedStore:
    """Passes everything on, and dates objects by ``clock``."""

    def __init__(self, inner: ObjectStore, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._written: dict[str, int] = {}
        self.url = inner.url

    def put(self, key: str, data: Data) -> None:
        self._inner.put(key, data)
        self._written[key] = self._clock.now_ms()

    def create(self, key: str, data: Data) -> None:
        self._inner.create(key, data)
        self._written[key] = self._clock.now_ms()

    def entries(self, prefix: str) -> builtins.list[Entry]:
        return [replace(entry, modified_ms=self._written[entry.key]) for entry in self._inner.entries(prefix)]

    def get(self, key: str) -> bytes:
        return self._inner.get(key)

    def get_range(self, key: str, start: int, end: int) -> bytes:
        return self._inner.get_range(key, start, end)

    def head(self, key: str) -> int | None:
        return self._inner.head(key)

    def exists(self, key: str) -> bool:
        return self._inner.exists(key)

    def delete(self, key: str) -> None:
        self._inner.delete(key)

    def list(self, prefix: str, after: str | None = None) -> builtins.list[str]:
        return self._inner.list(prefix, after)
