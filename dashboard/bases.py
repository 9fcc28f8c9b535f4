"""Reads how large the newest base is, now and then; must not open packs."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Final

from checkpointing.base import base_versions, read_base
from dashboard.storage import BaseSize
from infra.clock import Clock
from infra.object_store import ObjectStore

# A list costs as much as a put, and bases are made every few minutes.
EVERY_S: Final = 20.0


class BaseReader:
    """The newest base of one model. For one thread at a time.

    Args:
        store: The model's store.
        model: Its name.
        clock: Passes the time.
    """

    def __init__(self, store: ObjectStore, model: str, clock: Clock) -> None:
        self._store = store
        self._model = model
        self._clock = clock
        self._not_before = 0.0
        self._known: BaseSize | None = None

    @property
    def due(self) -> bool:
        """Whether it is time to look again."""
        return self._clock.monotonic() >= self._not_before

    def poll(self) -> BaseSize | None:
        """The newest base; None where there is none.

        Raises:
            Corrupt: The base is wrong.
            Invalid: It has a newer format, or is of another model.
            Unavailable: The store does not answer.
        """
        newest = max(base_versions(self._store), default=None)
        self._not_before = self._clock.monotonic() + EVERY_S
        if newest is None:
            self._known = None
        elif self._known is None or self._known.version != newest:
            base = read_base(self._store, self._model, newest)
            if base is not None:  # else it was collected meanwhile
                self._known = BaseSize(base.version, base.size, base.created_ts)
        return self._known
