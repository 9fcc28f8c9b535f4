"""Writers, zombies, a compactor, a collector, followers and people in one store, and what each must find there."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np

from checkpointing import paths
from checkpointing.base import Base
from checkpointing.boundary import Boundary, first_version
from checkpointing.collect import Collector
from checkpointing.compact import compact
from checkpointing.content import Content
from checkpointing.control import ControlLog
from checkpointing.follower import Follower
from checkpointing.history import newest_version
from checkpointing.manifest import Gate, Manifest, Position
from checkpointing.restore import restore
from checkpointing.retention import Retention
from checkpointing.servable import newest_servable
from checkpointing.signed import from_signed_json
from checkpointing.writer import Writer
from infra.backoff import Stopped
from infra.errors import Corrupt, Fenced, Invalid, Unavailable
from kernels.rows import TableRows
from tests.checkpointing.simulation.scheduler import Scheduler, VirtualClock
from tests.checkpointing.simulation.store import SimulatedStore
from tests.checkpointing.simulation.weather import GRACE_S, Weather
from tests.checkpointing.simulation.witness import Change, State, Truth, Violation

MODEL = "model"
RETENTION = Retention(versions=3, age_s=0.0, every=20)


def rows_of(change: Change) -> list[TableRows]:
    """The change as a table `t` whose rows are one number each; none where nothing changed."""
    if not change:
        return []
    rows = [(key, number) for key, number in change.items() if number is not None]
    numbers = np.array([number for _, number in rows], dtype=np.int64)
    return [
        TableRows(
            table="t",
            keys=np.array([key for key, _ in rows], dtype=np.int64),
            values=numbers.astype(np.float32)[:, None],
            slots=np.empty((len(rows), 0), dtype=np.float32),
            frequency=numbers.astype(np.uint32),
            last_seen=numbers,
            tombstones=np.array([key for key, number in change.items() if number is None], dtype=np.int64),
        )
    ]


def apply(state: State, tables: Sequence[TableRows]) -> None:
    for rows in tables:
        for key in rows.tombstones.tolist():
            state.pop(key, None)
        state.update(zip(rows.keys.tolist(), map(int, rows.values[:, 0].tolist()), strict=True))


class World:
    """One run; :meth:`run` raises the first violation."""

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.scheduler = Scheduler(weather.seed)
        self.clock = VirtualClock(self.scheduler)
        self.truth = Truth(self.scheduler)
        self.store = SimulatedStore(self.scheduler, weather, self.truth)
        self.draw = self.scheduler.random
        self.commits = 0

    def run(self) -> None:
        """Runs to the end, then calms the weather and checks that everything heals and nothing leaks."""
        spawn, weather = self.scheduler.spawn, self.weather
        for place in range(weather.writers):
            spawn(f"writer{place}", lambda place=place: self._write(place), rest_s=30)  # type: ignore[misc]
        for place in range(weather.followers):
            spawn(f"follower{place}", self._follow, rest_s=20)
        if weather.compaction:
            spawn("compactor", self._compact, rest_s=60)
        if weather.collection:
            spawn("collector", self._collect, rest_s=60)
        for place in range(weather.readers):
            spawn(f"reader{place}", self._read_old, rest_s=4)
        if weather.decisions:
            spawn("people", self._decide, rest_s=60)
        try:
            self.scheduler.run(weather.seconds)
        finally:
            self.scheduler.end()
        self._heal()

    def _life(self) -> str:
        task = self.scheduler.current
        return "heal/1" if task is None else f"{task.name}/{task.life}"

    def _write(self, place: int) -> None:
        draw = self.draw.random
        identity = "same" if draw() < 0.7 else f"other{place}"
        try:
            writer = self._take_over(identity, takeover=draw() < 0.5)
        except (Fenced, Unavailable, Stopped):
            return
        state = self._restore(writer.version)
        if state is None:
            return
        for _ in range(3 + int(draw() * 12)):
            self.scheduler.pause(draw() * 20)
            self.store.stall()
            try:
                self._step(writer, state)
            except Fenced:
                self.truth.fenced(writer.epoch)
                return

    def _take_over(self, identity: str, *, takeover: bool) -> Writer:
        writer = Writer.take_over(self.store, MODEL, identity, self.clock, takeover, quiet_s=20, retry_for_s=3)
        self.truth.told(writer.claimed)
        return writer

    def _restore(self, version: int) -> State | None:
        try:
            found = restore(self.store, MODEL, version, clock=self.clock)
        except Unavailable:
            return None
        except (Corrupt, Invalid) as error:
            if isinstance(error, Corrupt) or version >= self.truth.boundary:
                self._excused(error)
            return None
        state: State = {}
        apply(state, list(found.tables.values()))
        self.truth.holds(version, state, "a learner")
        return state

    def _step(self, writer: Writer, state: State) -> None:
        draw = self.draw
        if draw.random() < 0.15:
            with contextlib.suppress(Unavailable):
                self.truth.told(writer.heartbeat())
            return
        change: Change = {
            draw.randrange(8): None if draw.random() < 0.3 else draw.randrange(1, 99) for _ in range(draw.randrange(4))
        }
        serial = len(self.truth.contents)
        self.truth.contents.append(change)
        graph = None
        if draw.random() < 0.1:
            graph = writer.put_graph(b"program %d" % draw.randrange(3), weights=[], labels=[])
        content = Content(
            tables=rows_of(change),
            positions=[Position(topic="s", partition=0, next_offset=serial)],
            gate=Gate(servable=draw.random() < 0.8),
            environment={"serial": serial, "life": self._life()},
            graph=graph,
        )
        for _ in range(draw.randrange(1, 4)):
            try:
                self.truth.told(writer.commit(content))
            except Unavailable:
                if writer.pending is not content:
                    continue  # an earlier one is still on its way
                self.scheduler.pause(draw.random() * 5)
            else:
                self.commits += 1
                apply(state, content.tables)
                return

    def _follow(self) -> None:
        follower, replica = Follower(self.store, MODEL, self.clock), dict[int, int]()
        while True:
            self._look(follower, replica)
            self.scheduler.pause(self.draw.random() ** 2 * 60)

    def _look(self, follower: Follower, replica: State) -> None:
        try:
            update = follower.poll()
        except Unavailable:
            return
        if update.problem is not None:
            self._excused(update.problem)
        if update.switch is not None:
            if update.switch.full:
                replica.clear()
            apply(replica, update.switch.tables)
            self.truth.holds(update.switch.version, replica, "a follower")

    def _read_old(self) -> None:
        """Somebody looks at a version that is still there, and takes their time."""
        try:
            first, newest = first_version(self.store), newest_version(self.store)
            if newest is not None:
                self._restore(self.draw.randint(first, min(first + 3, newest)))
        except Unavailable:
            return

    def _compact(self) -> None:
        while True:
            self.scheduler.pause(10 + self.draw.random() * 40)
            self._compact_once(part_bytes=self.draw.choice([1 << 20, 600]))

    def _compact_once(self, part_bytes: int = 1 << 20) -> None:
        try:
            newest = newest_version(self.store)
            version = newest_servable(self.store, MODEL, newest) if newest else None
            if version is not None:
                compact(self.store, MODEL, version, self.clock, part_bytes=part_bytes)
        except (Unavailable, Stopped):
            return
        except (Corrupt, Invalid) as error:
            self._excused(error)

    def _collect(self) -> None:
        collector = Collector(self.store, MODEL, self.clock, RETENTION)
        while True:
            self.scheduler.pause(10 + self.draw.random() * 40)
            try:
                collector.run()
            except Unavailable:
                continue

    def _decide(self) -> None:
        control = ControlLog(self.store, MODEL)
        try:
            newest = newest_version(self.store)
            target = newest_servable(self.store, MODEL, newest) if newest else None
            if target is None:
                return
            control.append("pin", who="ann", why="", clock=self.clock, version=target)
            self.scheduler.pause(self.draw.random() * 60)
            control.append("unpin", who="ann", why="", clock=self.clock)
        except Unavailable:
            return
        except (Corrupt, Invalid) as error:
            self._excused(error)

    def _excused(self, error: Corrupt | Invalid) -> None:
        """What is wrong must be wrong only for a process that stood still for longer than its lease."""
        task = self.scheduler.current
        if task is None or task.longest_stall < GRACE_S / 4:
            raise Violation(f"{self._life()} was told: {error}") from error

    def _heal(self) -> None:
        """Good weather, no process but one of each: the newest version everywhere, and nothing without a name."""
        self.scheduler.run(self.scheduler.now + GRACE_S)  # what is on its way lands
        self.store.calm = True
        self._unpin()
        writer = self._take_over("heal", takeover=True)
        state = self._restore(writer.version)
        if state is None:
            raise Violation("a learner cannot restore")
        serial = len(self.truth.contents)
        self.truth.contents.append({1: 1})
        manifest = writer.commit(
            Content(
                tables=rows_of({1: 1}),
                positions=[Position(topic="s", partition=0, next_offset=serial)],
                environment={"serial": serial},
            )
        )
        self.truth.told(manifest)
        follower, replica = Follower(self.store, MODEL, self.clock), dict[int, int]()
        self._look(follower, replica)
        if follower.version != manifest.version:
            raise Violation(f"a follower is at {follower.version}, the newest servable version is {manifest.version}")
        if self.weather.compaction and self.weather.collection:
            self._compact_once()
            self.scheduler.pause(2 * GRACE_S)
            collector = Collector(self.store, MODEL, self.clock, Retention(versions=1, age_s=0.0))
            collector.run()
            self.scheduler.pause(2 * GRACE_S)
            collector.run()
            self._look(Follower(self.store, MODEL, self.clock), {})
            self._nothing_leaks()

    def _unpin(self) -> None:
        control = ControlLog(self.store, MODEL)
        control.poll()
        if control.decisions.pin is not None:
            control.append("unpin", who="heal", why="", clock=self.clock)

    def _nothing_leaks(self) -> None:
        objects = {key: data for key, (data, _) in self.store.objects.items()}
        boundary = from_signed_json(Boundary, objects[paths.BOUNDARY_KEY], what="boundary", where="")
        named = {paths.BOUNDARY_KEY, paths.STORE_CLOCK_KEY, paths.manifest_key(1)}
        for key, data in objects.items():
            version, base = paths.manifest_version(key), paths.base_version(key)
            if version is not None and version >= boundary.version:
                manifest = Manifest.from_json(data)
                named |= {
                    key,
                    *(file.key for file in manifest.files),
                    *([manifest.graph.key] if manifest.graph else []),
                }
            elif base is not None and (base >= boundary.version or base in boundary.kept):
                held = Base.from_json(data)
                named |= {key, *(file.key for files in held.parts for file in files)}
                named |= {held.graph.key} if held.graph else set()
            elif paths.decision_number(key) is not None:
                named.add(key)
        leaked = sorted(objects.keys() - named)
        if leaked:
            raise Violation(f"nobody will ever delete {leaked}")


def simulate(weather: Weather) -> World:
    """Runs one world."""
    world = World(weather)
    world.run()
    return world


def shrunk(weather: Weather, most: int = 200) -> Weather:
    """The calmest run of the same seed, found step by step, that still violates."""
    tries = 0
    while True:
        for calmer in weather.calmer():
            tries += 1
            if tries > most:
                return weather
            if violates(calmer):
                weather = calmer
                break
        else:
            return weather


def violates(weather: Weather) -> bool:
    """Whether the run ends in a violation, or in an error that nobody should see."""
    try:
        simulate(weather)
    except Exception:  # noqa: BLE001 - a crash of the code under test is a violation, too
        return True
    return False
