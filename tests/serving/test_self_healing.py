"""What is wrong in the store leaves a replica, as real processes, on its last good version, is told, and heals."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from checkpointing.control import ControlLog, DecisionKind
from infra.clock import SystemClock
from infra.object_store import ObjectStore, open_store
from infra.spec import Pipeline
from tests.serving.model import Model, make_pipeline
from tests.serving.test_predictors import Asking, descendants
from tests.serving.test_replica_process import Process

pytestmark = pytest.mark.long
HOUR_S = 3600
# Byte of a pack that replicas read; what follows their part is the learner's.
HARMED_AT = 200
# Several times what a version takes to be seen and applied.
LONG_S = 2.0


class Shown:
    """What the replica sees of the store that the model is written to."""

    def __init__(self, written: Path, shown: Path) -> None:
        self.written = written
        self.shown = shown
        shown.mkdir()

    def unseen(self) -> list[Path]:
        """What the replica has not seen yet, by name; manifests last."""
        files = (file.relative_to(self.written) for file in self.written.rglob("*") if file.is_file())
        missing = [file for file in files if not (self.shown / file).exists()]
        return sorted(missing, key=lambda file: (file.parts[0] == "manifests", file))

    def show(self, file: Path, content: bytes | None = None) -> None:
        """Lets the replica see a file, or ``content`` in its place."""
        to = self.shown / file
        to.parent.mkdir(parents=True, exist_ok=True)
        new = to.with_name(f"{to.name}.new")
        new.write_bytes((self.written / file).read_bytes() if content is None else content)
        new.replace(to)

    def show_all(self) -> None:
        for file in self.unseen():
            self.show(file)


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(make_pipeline((tmp_path / "written").as_uri()).store)


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return make_pipeline((tmp_path / "shown").as_uri())


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    return Shown(tmp_path / "written", tmp_path / "shown")


@pytest.fixture(params=[-HOUR_S, HOUR_S], ids=["an_hour_behind", "an_hour_ahead"])
def replica(
    request: pytest.FixtureRequest, pipeline: Pipeline, shown: Shown, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    """Its clock is wrong all the while."""
    process = Process(pipeline, tmp_path_factory.mktemp("replica"), ahead_s=request.param)
    yield process
    process.end()


def flipped(content: bytes) -> bytes:
    return content[:HARMED_AT] + bytes([content[HARMED_AT] ^ 4]) + content[HARMED_AT + 1 :]


def is_pack(file: Path) -> bool:
    return file.name in {"pack", "serving.pack"}


def test_deltas_that_are_wrong(replica: Process, model: Model, shown: Shown) -> None:
    asking = Asking(replica, model)
    good = asking.commit(1)
    shown.show_all()
    replica.until(lambda: asking.get("readyz").status_code == 200)
    asking.ask_for(good)

    harms: dict[str, Callable[[bytes], bytes] | None] = {
        "missing": None,
        "cut short": lambda content: content[:HARMED_AT],
        "a bit flipped": flipped,
        "another file": lambda _: (shown.shown / first_pack).read_bytes(),
    }
    (first_pack,) = [file.relative_to(shown.shown) for file in shown.shown.rglob("*") if is_pack(file)]
    for seed, (name, harm) in enumerate(harms.items(), start=2):
        version = asking.commit(seed)
        files = shown.unseen()
        packs = [file for file in files if is_pack(file)]
        for file in files:
            if file not in packs:
                shown.show(file)
            elif harm is not None:
                shown.show(file, harm((shown.written / file).read_bytes()))
        replica.until(lambda: asking.get("status").json()["trouble"])
        assert asking.get("status").json()["trouble"]["kind"] == "corrupt", name
        assert asking.metric("springtide_replica_stuck_since_timestamp_seconds") > 0
        assert asking.ask() == good
        for file in packs:
            shown.show(file)
        asking.ask_for(version)
        replica.until(lambda: asking.get("status").json()["trouble"] is None)
        good = version
    told = [event["event"] for event in replica.events() if event["event"].startswith("version")]
    assert told == ["version_refused", "versions_accepted_again"] * len(harms)

    # Out of order, the second waits for the first; shown once more, they change nothing.
    asking.commit(7)
    earlier = shown.unseen()
    newest = asking.commit(8)
    later = [file for file in shown.unseen() if file not in earlier]
    for file in later:
        shown.show(file)
    assert asking.ask() == good
    for file in earlier:
        shown.show(file)
    asking.ask_for(newest)
    for file in [*later, *earlier]:
        shown.show(file)
    assert asking.ask() == newest

    # All that it ever read has vanished: it needs none of it.
    shutil.rmtree(shown.shown / "versions")
    newest = asking.commit(9)
    for file in shown.unseen():
        if file.parts[0] != "versions" or file.parts[1] == str(newest):
            shown.show(file)
    asking.ask_for(newest)
    assert asking.get("status").json()["trouble"] is None


def test_a_store_that_is_away_and_people_who_decide(replica: Process, model: Model, shown: Shown) -> None:
    asking = Asking(replica, model)
    first = asking.commit(1)
    shown.show_all()
    replica.until(lambda: asking.get("readyz").status_code == 200)
    asking.ask_for(first)

    away = shown.shown.with_name("away")
    shown.shown.rename(away)
    second = asking.commit(2)
    for _ in range(5):
        assert asking.ask() == first
    away.rename(shown.shown)
    shown.show_all()
    asking.ask_for(second)

    log = ControlLog(open_store(make_pipeline(shown.written.as_uri()).store), "demo")

    def decide(kind: DecisionKind, version: int | None, wanted: int) -> float:
        log.append(kind, who="ann", why="a test", clock=SystemClock(), version=version)
        began = SystemClock().monotonic()
        shown.show_all()
        replica.until(lambda: asking.ask() == wanted)
        return SystemClock().monotonic() - began

    assert decide("pin", first, first) < 2
    replica.until(lambda: asking.get("status").json()["pinned"])
    assert asking.get("status").json()["pinned"]["version"] == first
    third = asking.commit(3)
    shown.show_all()
    assert asking.ask() == first
    assert decide("unpin", None, third) < 2


def test_a_full_disk(replica: Process, model: Model, shown: Shown) -> None:
    """No process of the replica can write a byte to any file, those in memory included, nor its log."""
    asking = Asking(replica, model)
    good = asking.commit(1)
    shown.show_all()
    replica.until(lambda: asking.get("readyz").status_code == 200)
    asking.ask_for(good)

    processes = [replica.process.pid, *descendants(replica.process.pid).values()]
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    for process in processes:
        resource.prlimit(process, resource.RLIMIT_FSIZE, (1, most))
    newest = asking.commit(2)
    shown.show_all()
    began = SystemClock().monotonic()
    while SystemClock().monotonic() - began < LONG_S:
        assert asking.ask() == good

    for process in processes:
        resource.prlimit(process, resource.RLIMIT_FSIZE, (most, most))
    asking.ask_for(newest)
    replica.until(lambda: asking.get("status").json()["trouble"] is None)
    assert set(descendants(replica.process.pid).values()) <= set(processes)
