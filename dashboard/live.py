"""Sends each viewer what has changed since it last heard; must not know what the sections mean."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from dashboard.past import as_json

# A browser that lost the page asks again after this long.
RETRY_MS: Final = 1_000
# For zlib: a gzip header, and a window of 32 KiB.
GZIP: Final = 31
# Sections that say only what is new: a viewer that missed a tick reads them from the API.
NEWS: Final = frozenset({"versions", "events"})
# Sections in every message, changed or not, so that a reader who keeps nothing still has the time and the headline.
ALWAYS: Final = frozenset({"t", "headline"})


class Live:
    """The newest tick and those who wait for it. For one event loop."""

    def __init__(self) -> None:
        self._sections: dict[str, bytes] = {}
        self._before: dict[str, bytes] = {}
        self._step = b""
        self._number = 0
        self._changed = asyncio.Event()
        self._closed = False
        self.viewers = 0

    @property
    def ready(self) -> bool:
        """Whether there has been a tick."""
        return self._number > 0

    def publish(self, sections: Mapping[str, Any]) -> None:
        """Takes one tick and wakes every viewer; what is new since the tick before is written once for all."""
        self._before = self._sections
        self._sections = {name: as_json(section) for name, section in sections.items()}
        self._step = self._message(self._before)
        self._number += 1
        self._wake()

    def close(self) -> None:
        """Ends every stream."""
        self._closed = True
        self._wake()

    async def stream(self, *, packed: bool = False) -> AsyncIterator[bytes]:
        """Server-sent events of one viewer: first everything, then per tick the sections that changed.

        Args:
            packed: As one gzip stream, whose parts end at messages: most of a tick stands in the one before it.
        """
        packer = zlib.compressobj(6, wbits=GZIP) if packed else None
        self.viewers += 1
        sent: dict[str, bytes] = {}
        number = 0
        try:
            while not self._closed:
                if number == self._number:
                    await self._changed.wait()
                    continue
                number = self._number
                message = self._step if sent is self._before else self._message(sent)
                sent = self._sections
                yield message if packer is None else packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH)
        finally:
            self.viewers -= 1

    def _message(self, sent: Mapping[str, bytes]) -> bytes:
        """What a viewer needs who has been sent these sections."""
        parts = [
            b'"%b":%b' % (name.encode(), section)
            for name, section in self._sections.items()
            if name in ALWAYS or sent.get(name) != section or (name in NEWS and section != b"[]")
        ]
        return b"retry: %d\ndata: {%b}\n\n" % (RETRY_MS, b",".join(parts))

    def _wake(self) -> None:
        """Lets go who waits now; who comes later waits for the next."""
        self._changed.set()
        self._changed = asyncio.Event()
