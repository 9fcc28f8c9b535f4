"""Gets the next batch ready while this one is learned, where a core is free; must not know Kafka or the model."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from infra.kafka.batch import Batch
from learner.preparation import Ready


class Poll(Protocol):
    """Reads what comes next, or None where there is nothing."""

    def __call__(self, *, wait: bool) -> Batch | None: ...


@dataclass(frozen=True)
class _Begun:
    ready: Future[Ready]
    full: bool


class LookAhead:
    """Batches one after the other, each ready to be learned.

    A full batch says that more waits behind it: then the next one is read and made ready while this one is learned.
    There are never more than two in memory. Without such a backlog a batch is read when it is wanted, so that no
    sample waits behind a batch that it could have been in.

    Making ready is pure: what is in flight may be dropped at any time (:meth:`forget`), and positions do not move.

    Args:
        poll: Reads batches.
        prepare: Makes one ready; called on another thread if ``cores`` allow.
        largest: Messages of a full batch.
        cores: How many this process may use.
    """

    def __init__(self, poll: Poll, prepare: Callable[[Batch], Ready], largest: int, cores: int) -> None:
        self._poll = poll
        self._prepare = prepare
        self._largest = largest
        self._worker = ThreadPoolExecutor(1, "look-ahead") if cores > 1 else None
        self._next: _Begun | None = None

    def next(self) -> Ready | None:
        """The next batch; None where none came in the time that ``poll`` waits."""
        begun, self._next = self._next or self._begin(wait=True), None
        if begun is None:
            return None
        if begun.full and self._worker is not None:
            self._next = self._begin(wait=False)
        return begun.ready.result()

    def forget(self) -> None:
        """Drops what is in flight; the reader reads it again from the positions that it is given."""
        self._next = None

    def _begin(self, *, wait: bool) -> _Begun | None:
        batch = self._poll(wait=wait)
        if batch is None or not len(batch):
            return None
        full = len(batch) >= self._largest
        if self._worker is not None and (full or not wait):
            return _Begun(self._worker.submit(self._prepare, batch), full)
        ready: Future[Ready] = Future()
        ready.set_result(self._prepare(batch))
        return _Begun(ready, full)
