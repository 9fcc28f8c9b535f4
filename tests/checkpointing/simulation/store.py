"""Objects in a dict, requested through bad weather; tells a witness what becomes of each; knows no format."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Protocol, TypeVar

from infra.errors import Unavailable
from infra.object_store import AlreadyExists, NotFound
from infra.object_store.contract import Data, Entry
from tests.checkpointing.simulation.scheduler import Scheduler, Task
from tests.checkpointing.simulation.weather import GRACE_S, Weather

Answer = TypeVar("Answer")

# A write may be done this long after it was reported as failed, whatever it replaces.
LATEST_S = 3 * GRACE_S


class Witness(Protocol):
    """Sees every change at the moment when it happens, in whichever order the store takes them."""

    def wrote(self, key: str, before: bytes | None, data: bytes) -> None: ...
    def deleted(self, key: str, before: bytes) -> None: ...


class SimulatedStore:
    """An object store whose requests take virtual time."""

    url = "memory://simulation"

    def __init__(self, scheduler: Scheduler, weather: Weather, witness: Witness) -> None:
        self._scheduler = scheduler
        self._weather = weather
        self._witness = witness
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.calm = False

    def put(self, key: str, data: Data) -> None:
        fixed = bytes(data)
        self._write(lambda: self._set(key, fixed))

    def create(self, key: str, data: Data) -> None:
        fixed = bytes(data)

        def effect() -> None:
            if key in self.objects:
                raise AlreadyExists(key)
            self._set(key, fixed)

        self._write(effect)

    def delete(self, key: str) -> None:
        def effect() -> None:
            found = self.objects.pop(key, None)
            if found is not None:
                self._witness.deleted(key, found[0])

        self._write(effect)

    def get(self, key: str) -> bytes:
        def effect() -> bytes:
            try:
                return self.objects[key][0]
            except KeyError:
                raise NotFound(key) from None

        return self._request(effect)

    def get_range(self, key: str, start: int, end: int) -> bytes:
        return self.get(key)[start:end]

    def head(self, key: str) -> int | None:
        return self._request(lambda: len(self.objects[key][0]) if key in self.objects else None)

    def exists(self, key: str) -> bool:
        return self.head(key) is not None

    def list(self, prefix: str, after: str | None = None) -> builtins.list[str]:
        found = self._request(lambda: sorted(key for key in self.objects if key.startswith(prefix)))
        return found if after is None else [key for key in found if key > after]

    def entries(self, prefix: str) -> builtins.list[Entry]:
        return self._request(
            lambda: [
                Entry(key, len(data), 1_700_000_000_000 + round(at * 1000))
                for key, (data, at) in sorted(self.objects.items())
                if key.startswith(prefix)
            ]
        )

    def _set(self, key: str, data: bytes) -> None:
        before = self.objects.get(key)
        self.objects[key] = (data, self._scheduler.now)
        self._witness.wrote(key, None if before is None else before[0], data)

    def _request(self, effect: Callable[[], Answer]) -> Answer:
        if self.calm:
            return effect()
        draw, weather = self._scheduler.random.random, self._weather
        slow = self._scheduler.current is not None and self._scheduler.current.slow
        self._scheduler.pause(0.01 + draw() * (GRACE_S / 6 if slow else draw()))
        if draw() < weather.failed:
            raise Unavailable("refused")
        answer = effect()
        self._after()
        if draw() < weather.lost:
            raise Unavailable("the reply was lost")
        return answer

    def _write(self, effect: Callable[[], None]) -> None:
        if self.calm:
            effect()
            return
        draw, weather = self._scheduler.random.random, self._weather
        if draw() < weather.delayed:
            self._scheduler.later(draw() * draw() * LATEST_S, lambda: _ignoring_conflicts(effect))
            self._scheduler.pause(draw() * 20)
            self._after()
            raise Unavailable("on its way")
        if draw() < weather.repeated:
            self._request(effect)
        self._request(effect)

    def _after(self) -> None:
        """The process crashes or stands still; what it asked for is done."""
        draw, weather, task = self._scheduler.random.random, self._weather, self._scheduler.current
        if task is None:
            return
        if draw() < weather.crash:
            self._scheduler.crash()
        if draw() < weather.stall + (weather.hesitant if task.name.startswith("writer") else 0.0):
            self._stand_still(task)

    def stall(self) -> None:
        """The process may stand still here, between two requests."""
        task = self._scheduler.current
        if task is not None and not self.calm and self._scheduler.random.random() < self._weather.stall * 3:
            self._stand_still(task)

    def _stand_still(self, task: Task) -> None:
        seconds = self._scheduler.random.random() * GRACE_S * 5
        task.longest_stall = max(task.longest_stall, seconds)
        self._scheduler.pause(seconds)


def _ignoring_conflicts(effect: Callable[[], None]) -> None:
    try:
        effect()
    except AlreadyExists:
        return
