"""Reads the next batch and gets it ready while this one is learned, if a core is free; must not know Kafka or model."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol

from infra.kafka.batch import Batch
from learner.preparation import Ready


class Poll(Protocol):
    """Reads what comes next, or None where there is nothing."""

    def __call__(self, *, wait: bool) -> Batch | None: ...


@dataclass(frozen=True)
class _Begun:
    """A batch on its way; None in both where there was nothing to read."""

    read: Future[Batch | None]
    ready: Future[Ready | None]


class LookAhead:
    """Batches one after the other, each ready to be learned.

    A full batch says that more waits behind it: then the next one is read and made ready while this one is learned.
    There are never more than two in memory. Without such a backlog a batch is read when it is wanted, so that no
    sample waits behind a batch that it could have been in.

    Making ready is pure: what is in flight may be dropped at any time (:meth:`forget`), and positions do not move.
    Reading is not, and what reads is made for one thread at a time: between :meth:`next` and :meth:`settle` it is this
    object's alone.

    Args:
        poll: Reads batches; called on another thread if ``cores`` allow, never on two at once.
        prepare: Makes one ready; likewise.
        largest: Messages of a full batch.
        cores: How many this process may use.
    """

    def __init__(self, poll: Poll, prepare: Callable[[Batch], Ready], largest: int, cores: int) -> None:
        self._poll = poll
        self._prepare = prepare
        self._largest = largest
        self._worker = ThreadPoolExecutor(1, "look-ahead") if cores > 1 else None
        self._begun: _Begun | None = None

    def next(self) -> Ready | None:
        """The next batch; None where none came in the time that ``poll`` waits.

        Raises:
            Exception: What ``poll`` or ``prepare`` raised for this batch.
        """
        begun, self._begun = self._begun, None
        batch = None if begun is None else begun.read.result()
        if begun is None or batch is None:
            batch = self._read(wait=True)
            if batch is None:
                return None
            if self._worker is None or len(batch) < self._largest:
                return self._prepare(batch)
            begun = _Begun(_done(batch), self._worker.submit(self._prepare, batch))
        if self._worker is not None and len(batch) >= self._largest:
            self._begun = self._begin(self._worker)
        return begun.ready.result()

    def settle(self) -> None:
        """Waits until nothing is being read; what was read stays the next batch."""
        if self._begun is not None:
            wait((self._begun.read,))

    def forget(self) -> None:
        """Drops what is in flight; the reader reads it again from the positions that it is given."""
        self.settle()
        self._begun = None

    def close(self) -> None:
        """Ends the other thread; no batch can be had afterwards."""
        if self._worker is not None:
            self._worker.shutdown()

    def _begin(self, worker: ThreadPoolExecutor) -> _Begun:
        read: Future[Batch | None] = Future()

        def work() -> Ready | None:
            try:
                batch = self._read(wait=False)
            except BaseException as error:
                read.set_exception(error)
                raise
            read.set_result(batch)
            return None if batch is None else self._prepare(batch)

        return _Begun(read, worker.submit(work))

    def _read(self, *, wait: bool) -> Batch | None:
        batch = self._poll(wait=wait)
        return batch if batch is not None and len(batch) else None


def _done(batch: Batch) -> Future[Batch | None]:
    read: Future[Batch | None] = Future()
    read.set_result(batch)
    return read
