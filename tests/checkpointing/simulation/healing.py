"""What must be true once the weather is good: everybody arrives, nothing leaks; and runs, shrunk or not."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from checkpointing import paths
from checkpointing.base import Base
from checkpointing.boundary import read_boundary
from checkpointing.collect import Collector
from checkpointing.control import ControlLog
from checkpointing.follower import Follower
from checkpointing.manifest import Manifest
from checkpointing.retention import Retention
from checkpointing.writer import Writer
from tests.checkpointing.simulation.determinism import numbered
from tests.checkpointing.simulation.store import LATEST_S
from tests.checkpointing.simulation.weather import GRACE_S, Weather
from tests.checkpointing.simulation.witness import Violation
from tests.checkpointing.simulation.world import MODEL, Learner, Replica, World

NEWEST = Retention(versions=1, age_s=0.0)
# A follower that waits for a number that came and went looks again after a quarter of the grace time.
MOST_POLLS = 4
# Collections in a grace time, grace times that a long good weather lasts, and runs of which one has it.
OFTEN, LONG, ONE_IN = 3, 4, 16


def heal(world: World) -> None:
    """Calms the weather, and checks what must then come true.

    Raises:
        Violation: It does not.
    """
    world.scheduler.run(world.scheduler.now + LATEST_S)  # what is on its way lands
    world.store.calm = True
    _unpin(world)
    writer = world.take_over("heal", takeover=True)
    learner = world.restore(writer.version)
    if learner is None:
        raise Violation("a learner cannot restore")
    _commit(world, writer, learner)
    for replica in (*world.replicas.values(), Replica(Follower(world.store, MODEL, world.clock))):
        _arrives(world, replica, writer.version)
    if not (world.weather.compaction and world.weather.collection):
        return
    if world.weather.seed % ONE_IN == 0:
        _long_good_weather(world, writer, learner)
    world.compact_once(servable=True)
    collector = Collector(world.store, MODEL, world.clock, NEWEST)
    for _ in range(3):
        world.scheduler.pause(GRACE_S + 1)
        collector.run()
    world.look(Replica(Follower(world.store, MODEL, world.clock)))
    _nothing_leaks(world)


def _commit(world: World, writer: Writer, learner: Learner) -> None:
    begin, learner.position = learner.position, learner.position + 1
    world.truth.told(writer.commit(world.content(begin, learner.position)))


def _arrives(world: World, replica: Replica, version: int) -> None:
    for _ in range(MOST_POLLS):
        world.look(replica)
        if replica.follower.version == version and replica.follower.problem is None:
            return
        world.scheduler.pause(GRACE_S / 4 + 1)
    at, problem = replica.follower.version, replica.follower.problem
    raise Violation(f"a follower is at {at}, the newest servable version is {version}; its problem: {problem}")


def _long_good_weather(world: World, writer: Writer, learner: Learner) -> None:
    """However often it is collected, what is old goes."""
    collector = Collector(world.store, MODEL, world.clock, NEWEST)
    newest = []
    for _ in range(OFTEN * LONG):
        _commit(world, writer, learner)
        world.compact_once(servable=True)
        world.scheduler.pause(GRACE_S / OFTEN + 0.1)
        collector.run()
        newest.append(writer.version)
    versions = (paths.manifest_version(key) for key in world.store.objects)
    oldest = min(version for version in versions if version is not None and version > 1)
    if oldest < newest[0]:
        raise Violation(f"version {oldest} is still there after {LONG} grace times, and nobody wants it")


def _unpin(world: World) -> None:
    control = ControlLog(world.store, MODEL)
    control.poll()
    if control.decisions.pin is not None:
        control.append("unpin", who="heal", why="", clock=world.clock)


def _nothing_leaks(world: World) -> None:
    objects = {key: data for key, (data, _) in world.store.objects.items()}
    boundary = read_boundary(world.store)
    named = {paths.STORE_CLOCK_KEY, paths.manifest_key(1)}
    for key, data in objects.items():
        version, base = paths.manifest_version(key), paths.base_version(key)
        if version is not None and version >= boundary.version:
            manifest = Manifest.from_json(data)
            graph = [manifest.graph.key] if manifest.graph else []
            named |= {key, *(file.key for file in manifest.files), *graph}
        elif base is not None and boundary.holds(base, base):
            held = Base.from_json(data)
            named |= {key, *(file.key for files in held.parts for file in files)}
            named |= {held.graph.key} if held.graph else set()
        elif paths.decision_number(key) is not None or paths.boundary_number(key) is not None:
            named.add(key)
    leaked = sorted(objects.keys() - named)
    if leaked:
        raise Violation(f"nobody will ever delete {leaked}")


def simulate(weather: Weather) -> World:
    """Runs one world to its end."""
    with numbered():
        world = World(weather)
        world.run()
        heal(world)
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
