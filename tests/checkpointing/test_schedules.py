"""After any schedule of faults, crashes and zombies: follower = fold of the manifests = a plain dict."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpointing import paths
from checkpointing.content import Content
from checkpointing.follower import Follower
from checkpointing.history import check_succession, manifests
from checkpointing.manifest import Gate, Manifest
from checkpointing.restore import restore
from checkpointing.writer import Writer
from infra.clock import new_uuid
from infra.errors import Fenced, Unavailable
from infra.object_store import ObjectStore, open_store
from infra.object_store.contract import Data
from infra.spec import Store
from tests.checkpointing.faulty_store import Fault, FaultyStore
from tests.checkpointing.reference import Reference, content
from tests.checkpointing.stepping_clock import SteppingClock

MODEL = "model"

deltas = st.dictionaries(st.integers(0, 6), st.none() | st.integers(1, 99), max_size=4)
# One by one, and outages longer than a writer's limit; what a fault does: faulty_store.py.
OUTAGE: list[Fault] = ["before"] * 6
FAULTS: list[list[Fault]] = [["none"], ["none"] * 4, ["before"], ["after"], ["later"], ["twice"], ["contended"]]
faults = st.lists(st.sampled_from([*FAULTS, OUTAGE, ["later", *OUTAGE], ["none", "after", *OUTAGE]]), max_size=30).map(
    lambda groups: [fault for group in groups for fault in group]
)
places = st.integers(0, 1)
commit = st.tuples(st.just("commit"), places, deltas, st.booleans(), st.booleans())
poll = st.tuples(st.just("poll"))
steps = st.lists(
    st.one_of(
        commit,
        commit,
        commit,
        poll,
        poll,
        st.tuples(st.just("repeat"), places),
        st.tuples(st.just("retry"), places),
        st.tuples(st.just("heartbeat"), places),
        st.tuples(st.just("take over"), places),
        st.tuples(st.just("land")),
    ),
    min_size=8,
    max_size=40,
)


class WriteOnce:
    """Passes everything on, and holds that no object is ever written again with other bytes."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self._written: dict[str, bytes] = {}

    def put(self, key: str, data: Data) -> None:
        assert self._written.setdefault(key, bytes(data)) == bytes(data), f"{key} was overwritten"
        self._inner.put(key, data)

    def create(self, key: str, data: Data) -> None:
        self._inner.create(key, data)
        assert self._written.setdefault(key, bytes(data)) == bytes(data), f"{key} was created twice"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class EvenClock(SteppingClock):
    """Every wait takes as long, so that the jitter of a backoff does not change the schedule."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return super().wait(event, 0.25)


class World:
    """Three places for learners on one model, one replica, and a record of what each commit was told."""

    def __init__(self, faults_in_order: list[Any]) -> None:
        inner: Any = WriteOnce(open_store(Store(url=f"memory://{new_uuid()}")))
        self.store: ObjectStore = inner
        self.faulty = FaultyStore(self.store, iter(faults_in_order))
        self.clock = EvenClock()
        self.writers: dict[int, Writer] = {}
        self.contents: list[Content] = []
        # Serials that the writer now at each place has taken, acknowledged or not, in order.
        self.handed: dict[int, list[int]] = {}
        self.told: dict[int, Manifest] = {}
        self.refused: set[int] = set()
        self.follower = Follower(self.faulty, MODEL, self.clock)
        self.replica = Reference()

    def commit(self, place: int, delta: dict[int, int | None], servable: bool, again: bool) -> None:
        serial = len(self.contents)
        rows = {key: number for key, number in delta.items() if number is not None}
        gone = [key for key, number in delta.items() if number is None]
        gate = Gate(servable=servable)
        self.contents.append(content(rows, gone, offset=serial, gate=gate, environment={"serial": serial}))
        self.handed[place].append(serial)
        try:
            self.hand_over(place, serial)
        except Unavailable:
            if again:
                self.repeat(place)

    def repeat(self, place: int) -> None:
        """Commits again the content whose outcome is unknown, as a caller should."""
        pending = self.writers[place].pending
        if pending is not None and pending.kind == "delta":
            self.hand_over(place, next(at for at, held in enumerate(self.contents) if held is pending))

    def hand_over(self, place: int, serial: int) -> None:
        handed, writer = self.handed[place], self.writers[place]
        with self.unless_fenced(place, serial):
            try:
                self.told[serial] = writer.commit(self.contents[serial])
            except Unavailable:
                if writer.pending is not self.contents[serial]:
                    handed.remove(serial)  # not taken, since an earlier one did not land; this caller gives it up
                    self.refused.add(serial)
                raise
            line = [m.environment.get("serial") for m in manifests(self.store, MODEL)]
            assert [known for known in line if known in handed] == handed, "lost, doubled or out of order"

    @contextlib.contextmanager
    def unless_fenced(self, place: int, serial: int | None) -> Iterator[None]:
        try:
            yield
        except Fenced:
            epoch = self.writers.pop(place).epoch
            assert any(m.epoch > epoch for m in manifests(self.store, MODEL)), "fenced by its own commit"
            if serial is not None:
                self.refused.add(serial)

    def take_over(self, place: int) -> None:
        # The same identity, so that it claims at once; what was here before has crashed, others are zombies now.
        self.writers.pop(place, None)
        self.handed[place] = []
        writer = Writer.take_over(self.faulty, MODEL, "same", self.clock, retry_for_s=1)
        assert writer.claimed in manifests(self.store, MODEL)
        self.writers[place] = writer

    def poll(self) -> None:
        update = self.follower.poll()
        assert update.problem is None
        if update.switch is not None:
            self.replica.apply(update.switch)

    def step(self, name: str, *args: Any) -> None:
        with contextlib.suppress(Unavailable):
            if name in ("commit", "repeat", "retry", "heartbeat") and args[0] not in self.writers:
                self.take_over(args[0])
            if name == "commit":
                self.commit(*args)
            elif name == "repeat":
                self.repeat(*args)
            elif name in ("retry", "heartbeat"):
                with self.unless_fenced(args[0], None):
                    getattr(self.writers[args[0]], name)()
            elif name == "take over":
                self.take_over(*args)
            elif name == "poll":
                self.poll()
            else:
                self.faulty.land_later()

    def check(self) -> None:
        line = list(manifests(self.store, MODEL))
        for earlier, later in itertools.pairwise(line):
            check_succession(earlier, later)
        serials = [m.environment["serial"] for m in line if m.kind == "delta"]
        assert len(set(serials)) == len(serials), "a content was committed twice"
        assert not self.refused.intersection(serials), "a content that was refused was committed"
        for serial, manifest in self.told.items():
            assert line[manifest.version - 1] == manifest, "a commit that was told is not in the line"
            assert manifest.environment == {"serial": serial}
        named = {file.key for manifest in line for file in manifest.files}
        assert named <= set(self.store.list(paths.VERSIONS))
        committed = [self.contents[int(str(serial))] for serial in serials]
        if line:
            Reference.of(committed).assert_is(restore(self.store, MODEL))
        self.faulty.faults = iter(())
        self.poll()
        servable = [m.version for m in line if m.gate.servable]
        assert self.follower.version == max(servable, default=0)
        served = [m for m in line if m.kind == "delta" and m.version <= self.follower.version]
        Reference.of([self.contents[int(str(m.environment["serial"]))] for m in served]).assert_serves(self.replica)


@settings(max_examples=60, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
@given(steps, faults)
def test_any_schedule(schedule: list[tuple[Any, ...]], faults_in_order: list[Any]) -> None:
    """Small schedules, which shrink."""
    run(schedule, faults_in_order)


@pytest.mark.parametrize("block", range(8))
def test_long_schedules(block: int) -> None:
    """Many commits each, from quiet weather to storm; a failure is repeated by its seed."""
    for seed in range(block * 10, block * 10 + 10):
        schedule, faults_in_order = drawn(seed)
        try:
            run(schedule, faults_in_order)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


def drawn(seed: int) -> tuple[list[tuple[Any, ...]], list[Fault]]:
    rng = np.random.default_rng(seed)
    storm = rng.choice([0.0, 0.05, 0.2, 0.5])
    faults_in_order: list[Fault] = []
    while len(faults_in_order) < 300:
        group = [*FAULTS[2:], OUTAGE][rng.integers(len(FAULTS) - 1)] if rng.random() < storm else FAULTS[0]
        faults_in_order += group
    names = rng.choice(
        ["commit", "poll", "repeat", "retry", "heartbeat", "take over", "land"],
        size=30,
        p=[0.5, 0.2, 0.06, 0.06, 0.06, 0.06, 0.06],
    )
    schedule: list[tuple[Any, ...]] = []
    for name in names.tolist():
        place = int(rng.random() < 0.15)
        if name == "commit":
            keys = rng.choice(7, size=rng.integers(5), replace=False).tolist()
            delta = {key: None if rng.random() < 0.3 else int(rng.integers(1, 99)) for key in keys}
            schedule.append((name, place, delta, bool(rng.random() < 0.7), bool(rng.random() < 0.5)))
        elif name in ("poll", "land"):
            schedule.append((name,))
        else:
            schedule.append((name, place))
    return schedule, faults_in_order


def run(schedule: list[tuple[Any, ...]], faults_in_order: list[Fault]) -> None:
    world = World(faults_in_order)
    for step in schedule:
        world.step(*step)
    world.check()
    for _ in range(5):
        world.faulty.land_later()  # what was still on its way arrives after everything
    world.check()
