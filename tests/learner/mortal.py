"""A learner that dies at a named place of this process, so that only the store outlives it; knows no stream."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import builtins
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from checkpointing.paths import manifest_version
from infra import spec
from infra.errors import Unavailable
from infra.kafka import PartitionReader
from infra.object_store import ObjectStore
from infra.object_store.contract import Data, Entry
from kernels.tables import EmbeddingTables
from learner.gate import QualityGate
from learner.positions import Positions
from learner.run import run_learner
from learner.trainer import Trainer
from tests.learner.stream import CLOCK, parts

CLAIMED: Final = "the claim has landed"
RESTORING: Final = "rows are being restored"
BETWEEN: Final = "dense weights have moved, rows have not"
LEARNED: Final = "a batch is learned, its position has not moved"
PASSED: Final = "the position has moved, the batch is not listed"
CAPTURED: Final = "everything is captured, and with nobody"
JUDGED: Final = "the gate has judged"
UPLOADING: Final = "a file is in the store, not all of them"
UPLOADED: Final = "all files are in the store, the manifest is not"
LANDED: Final = "the manifest is in the store, nobody has heard of it"
TELLING: Final = "the learner knows, Kafka's lag tools do not"

# In the order in which a life passes them.
PLACES: Final = (
    CLAIMED,
    RESTORING,
    BETWEEN,
    LEARNED,
    PASSED,
    CAPTURED,
    JUDGED,
    UPLOADING,
    UPLOADED,
    LANDED,
    TELLING,
)
# Passed once in a life, or not in the first.
_EARLY: Final = {CLAIMED, RESTORING}

_POINTS: Final[dict[str, tuple[type, str, bool]]] = {
    # The method whose call is the place, and whether the place is behind it.
    RESTORING: (EmbeddingTables, "import_rows", False),
    BETWEEN: (EmbeddingTables, "apply", False),
    LEARNED: (Trainer, "learn", True),
    PASSED: (Positions, "passed", True),
    CAPTURED: (EmbeddingTables, "capture", True),
    JUDGED: (QualityGate, "judge", True),
    TELLING: (Positions, "mirror", False),
}


class Killed(BaseException):
    """What ends a life; nothing catches it but what catches everything to pass it on."""


class Life:
    """When it ends: the ``turn``-th time that ``place`` is reached. From then on it cannot reach the store."""

    def __init__(self, place: str, turn: int) -> None:
        self.place = place
        self._turns = turn
        self._lock = threading.Lock()
        self.over = False

    def reach(self, place: str) -> None:
        """Dies here, if this is the place, and anywhere once it is dead."""
        with self._lock:
            if not self.over and place == self.place:
                self._turns -= 1
                self.over = self._turns == 0
            if self.over:
                raise Killed(self.place)

    def request(self) -> None:
        """What the dead send reaches nobody."""
        if self.over:
            if threading.current_thread().name == "decisions":  # it lives on what it may catch, and ends by itself
                raise Unavailable("this learner was killed")
            raise Killed(self.place)


class MortalStore:
    """The store as one life reaches it."""

    def __init__(self, inner: ObjectStore, life: Life) -> None:
        self._inner = inner
        self._life = life

    @property
    def url(self) -> str:
        return self._inner.url

    def put(self, key: str, data: Data) -> None:
        self._life.request()
        self._inner.put(key, data)
        if key.endswith(".pack") or key.endswith("/pack"):
            self._life.reach(UPLOADING)

    def create(self, key: str, data: Data) -> None:
        self._life.request()
        version = manifest_version(key)
        claim = b'"kind":"claim"' in bytes(data)
        if version is not None and not claim:
            self._life.reach(UPLOADED)
        self._inner.create(key, data)
        if version is not None:
            self._life.reach(CLAIMED if claim else LANDED)

    def get(self, key: str) -> bytes:
        self._life.request()
        return self._inner.get(key)

    def get_range(self, key: str, start: int, end: int) -> bytes:
        self._life.request()
        return self._inner.get_range(key, start, end)

    def head(self, key: str) -> int | None:
        self._life.request()
        return self._inner.head(key)

    def list(self, prefix: str, after: str | None = None) -> builtins.list[str]:
        self._life.request()
        return self._inner.list(prefix, after)

    def entries(self, prefix: str) -> builtins.list[Entry]:
        self._life.request()
        return self._inner.entries(prefix)

    def delete(self, key: str) -> None:
        self._life.request()
        self._inner.delete(key)

    def exists(self, key: str) -> bool:
        return self.head(key) is not None


@contextmanager
def places_of(life: Life) -> Iterator[None]:
    """Watches the places outside the store while the block lasts."""
    with pytest.MonkeyPatch.context() as patch:
        for place, (owner, method, behind) in _POINTS.items():
            patch.setattr(owner, method, _watched(getattr(owner, method), life, place, behind))
        yield


def _watched(method: Callable[..., Any], life: Life, place: str, behind: bool) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **options: Any) -> Any:
        if not behind:
            life.reach(place)
        answer = method(*args, **options)
        if behind:
            life.reach(place)
        return answer

    return call


@contextmanager
def fed_when_hungry(feed: Callable[[], Any]) -> Iterator[None]:
    """Calls ``feed`` whenever a poll comes back empty: there is always more, and never much."""
    poll = PartitionReader.poll_batch

    def fed(self: PartitionReader, *args: Any, **options: Any) -> Any:
        batch = poll(self, *args, **options)
        if not len(batch):
            feed()
        return batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PartitionReader, "poll_batch", fed)
        yield


def live(pipeline: spec.Pipeline, store: ObjectStore, place: str, turn: int, feed: Callable[[], Any]) -> None:
    """One learner, until it reaches ``place`` for the ``turn``-th time."""
    turn = 1 if place in _EARLY else turn
    life = Life(place, turn)
    with places_of(life), fed_when_hungry(feed), pytest.raises(Killed):
        run_learner(
            pipeline,
            **parts(pipeline),
            store=MortalStore(store, life),
            clock=CLOCK,
            stop=threading.Event(),
            identity="it",
        )
    assert life.over
