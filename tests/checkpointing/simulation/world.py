"""Writers, zombies, a compactor, a collector, followers and people in one store, and what each must find there."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from checkpointing.boundary import read_boundary
from checkpointing.collect import Collector
from checkpointing.compact import compact
from checkpointing.content import Content
from checkpointing.control import ControlLog
from checkpointing.follower import Follower
from checkpointing.history import newest_version
from checkpointing.manifest import Gate, Graph, Position
from checkpointing.restore import restore
from checkpointing.retention import Retention
from checkpointing.servable import newest_servable
from checkpointing.writer import Writer
from infra.backoff import Stopped
from infra.errors import Corrupt, Fenced, Invalid, Unavailable
from infra.object_store import ObjectStore
from tests.checkpointing.read_only_store import ReadOnlyStore
from tests.checkpointing.simulation.scheduler import Scheduler, VirtualClock
from tests.checkpointing.simulation.store import SimulatedStore
from tests.checkpointing.simulation.stream import State, Stream, after, apply, rows_of
from tests.checkpointing.simulation.weather import GRACE_S, Weather
from tests.checkpointing.simulation.witness import Truth, Violation

MODEL = "model"
RETENTION = Retention(versions=3, age_s=0.0, every=20)


@dataclass
class Learner:
    """What a learner remembers: its state, and up to which record of the stream it has trained."""

    state: State
    position: int


@dataclass
class Replica:
    """A follower and the rows that its switches left."""

    follower: Follower
    rows: State = field(default_factory=dict)


class World:
    """One run; :meth:`run` raises the first violation."""

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.scheduler = Scheduler(weather.seed)
        self.clock = VirtualClock(self.scheduler)
        self.stream = Stream(weather.seed)
        self.truth = Truth(self.scheduler, self.stream)
        self.store = SimulatedStore(self.scheduler, weather, self.truth)
        self.draw = self.scheduler.random
        # The last life of each replica, between two polls: one that ends in a poll may have lost a switch.
        self.replicas: dict[int, Replica] = {}

    def run(self) -> None:
        """Runs to the end of the weather."""
        spawn, weather = self.scheduler.spawn, self.weather
        for place in range(weather.writers):
            spawn(f"writer{place}", lambda place=place: self._write(place), rest_s=30)  # type: ignore[misc]
        for place in range(weather.followers):
            spawn(f"follower{place}", lambda place=place: self._follow(place), rest_s=20)  # type: ignore[misc]
        if weather.compaction:
            spawn("compactor", self._compact, rest_s=60)
        if weather.collection:
            spawn("collector", self._collect, rest_s=60)
        for place in range(weather.readers):
            spawn(f"reader{place}", lambda place=place: self._read_old(place), rest_s=4)  # type: ignore[misc]
        if weather.decisions:
            spawn("people", self._decide, rest_s=60)
        try:
            self.scheduler.run(weather.seconds)
        finally:
            self.scheduler.end()

    def life(self) -> str:
        """Which process runs, and which of its lives."""
        task = self.scheduler.current
        return "heal/1" if task is None else f"{task.name}/{task.life}"

    def _write(self, place: int) -> None:
        draw = self.draw.random
        identity = "same" if draw() < 0.7 else f"other{place}"
        try:
            writer = self.take_over(identity, takeover=draw() < 0.5)
        except (Fenced, Unavailable, Stopped):
            return
        learner = self.restore(writer.version)
        if learner is None:
            return
        for _ in range(3 + int(draw() * 12)):
            self.scheduler.pause(draw() * 20)
            self.store.stall()
            try:
                self._step(writer, learner)
            except Fenced:
                self.truth.fenced(writer.epoch)
                return

    def take_over(self, identity: str, *, takeover: bool) -> Writer:
        """Claims the line; raises as the writer does."""
        writer = Writer.take_over(self.store, MODEL, identity, self.clock, takeover, quiet_s=20, retry_for_s=3)
        self.truth.told(writer.claimed)
        return writer

    def restore(self, version: int, store: ObjectStore | None = None) -> Learner | None:
        """The learner that ``version`` makes; None where the store does not answer, or may have forgotten it."""
        self.scheduler.begin()
        try:
            found = restore(store or self.store, MODEL, version, clock=self.clock, progress=self._ponder)
        except Unavailable:
            return None
        except (Corrupt, Invalid) as error:
            if isinstance(error, Corrupt) or self.truth.holds_version(version):
                self._excused(error, leased=store is None)
            return None
        state: State = {}
        apply(state, list(found.tables.values()))
        self.truth.holds(version, state, "a learner")
        return Learner(state, found.positions[0].next_offset if found.positions else 0)

    def _ponder(self, done: int, total: int) -> None:
        if self.weather.patience_s and self.scheduler.current and self.scheduler.current.name.startswith("reader"):
            self.scheduler.pause(self.draw.random() * self.weather.patience_s)

    def _step(self, writer: Writer, learner: Learner) -> None:
        draw = self.draw
        if draw.random() < 0.15:
            with contextlib.suppress(Unavailable):
                self.truth.told(writer.heartbeat())
            return
        begins, base_ref = learner, None
        if draw.random() < self.weather.reverts:
            base_ref = self._some_version(draw.random() < 0.5)
            earlier = None if base_ref is None or base_ref > writer.version else self.restore(base_ref)
            if earlier is None:
                return
            begins = earlier
            self.store.stall()
        begin, end = learner.position, learner.position + draw.randrange(4)
        change = self.stream.change(begin, end)
        graph = None
        if draw.random() < 0.1:
            graph = writer.put_graph(b"program %d" % draw.randrange(3), weights=[], labels=[])
        servable = draw.random() < self.weather.servable
        content = self.content(begin, end, servable=servable, graph=graph, base_ref=base_ref)
        for _ in range(draw.randrange(1, 4)):
            try:
                self.truth.told(writer.commit(content))
            except Unavailable:
                if writer.pending is not content:
                    continue  # an earlier one is still on its way, and this one was not taken
                self.scheduler.pause(draw.random() * 5)
            except Invalid:
                if base_ref is None or self.truth.holds_version(base_ref):
                    raise
                return  # collected meanwhile
            learner.state, learner.position = after(begins.state, change), end
            if writer.pending is None:
                return

    def content(
        self,
        begin: int,
        end: int,
        *,
        servable: bool = True,
        graph: Graph | None = None,
        base_ref: int | None = None,
    ) -> Content:
        """What training on records ``begin`` to ``end`` gives."""
        return Content(
            tables=rows_of(self.stream.change(begin, end)),
            positions=[Position(topic="s", partition=0, next_offset=end)],
            batches=[[(0, begin, end)]] if end > begin else [],
            gate=Gate(servable=servable),
            environment={"life": self.life()},
            graph=graph,
            kind="delta" if base_ref is None else "revert",
            base_ref=base_ref,
        )

    def _some_version(self, kept: bool) -> int | None:
        """A version that somebody may go back to."""
        try:
            boundary, newest = read_boundary(self.store), newest_version(self.store)
        except Unavailable:
            return None
        if kept and boundary.kept:
            return self.draw.choice(boundary.kept)
        return None if newest is None else self.draw.randint(boundary.version, max(boundary.version, newest - 1))

    def _follow(self, place: int) -> None:
        replica = Replica(Follower(self.store, MODEL, self.clock))
        while True:
            self.replicas.pop(place, None)
            self.look(replica)
            self.replicas[place] = replica
            self.scheduler.pause(self.draw.random() ** 2 * 60)

    def look(self, replica: Replica) -> None:
        """One poll of a follower, and its switch."""
        self.scheduler.begin()
        servable = self.truth.servable
        try:
            update = replica.follower.poll()
        except Unavailable:
            return
        if update.problem is not None:
            self._excused(update.problem)
        if update.switch is not None:
            if update.switch.full:
                replica.rows.clear()
            apply(replica.rows, update.switch.tables)
            self.truth.holds(update.switch.version, replica.rows, "a follower")
        if servable and not replica.follower.version and replica.follower.problem is None:
            raise Violation(f"a follower finds nothing to answer from, and version {servable} is servable")

    def _read_old(self, place: int) -> None:
        """Somebody looks at a version that is still there, and takes their time; every other one may not write."""
        version = self._some_version(self.draw.random() < 0.2)
        if version is not None:
            self.restore(version, ReadOnlyStore(self.store) if place % 2 else None)

    def _compact(self) -> None:
        while True:
            self.scheduler.pause(10 + self.draw.random() * 40)
            self.compact_once(self.draw.random() < 0.7, part_bytes=self.draw.choice([1 << 20, 600]))

    def compact_once(self, servable: bool, part_bytes: int = 1 << 20) -> None:
        """Makes a base of the newest version, or of the newest one that is servable."""
        self.scheduler.begin()
        try:
            version = newest_version(self.store)
            if version is not None and servable:
                version = newest_servable(self.store, MODEL, version)
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
            with contextlib.suppress(Unavailable):
                collector.run()

    def _decide(self) -> None:
        self.scheduler.begin()
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

    def _excused(self, error: Corrupt | Invalid, *, leased: bool = True) -> None:
        """What is wrong must be wrong only for a process that stood still meanwhile, for longer than its lease lasts.

        One without a lease must be done within a grace time.
        """
        task = self.scheduler.current
        if task is not None and task.longest_stall >= GRACE_S / 4:
            return
        if task is not None and not leased and self.scheduler.now - task.began >= GRACE_S:
            return
        raise Violation(f"{self.life()} was told: {error}") from error
