"""What a running learner knows after it went back, or could not."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from checkpointing import paths
from checkpointing.boundary import BoundaryLog
from checkpointing.compact import compact
from checkpointing.content import Content
from checkpointing.control import ControlLog
from checkpointing.manifest import Gate
from checkpointing.writer import Writer
from infra import spec
from infra.clock import SystemClock
from infra.feature_spec import feature_spec_hash
from infra.object_store import open_store
from learner.gate import QualityGate
from learner.gate_stream import Stream
from learner.migration import migrations
from learner.revert import Reversion
from learner.witness import Evidence, Seen
from tests.learner.messages import pipeline
from tests.learner.training import make_trainer

SETTINGS = pipeline()
DIGEST = feature_spec_hash(SETTINGS)
LABELS, COLUMNS = ("label_click",), ("user", "item")
NOTHING = np.empty((0, 1), np.float32)
REFUSALS = 2


class Line:
    """A learner's gate and its versions in a store; a version is a thousand samples, with the column `item` or not."""

    def __init__(self, name: str) -> None:
        self.store = open_store(spec.Store(url=f"memory://{name}"))
        self.writer = Writer.take_over(self.store, SETTINGS.name, "one", SystemClock())
        self.gate = QualityGate(spec.Gate(revert_after=REFUSALS), Stream(LABELS, COLUMNS))
        stop = threading.Event()
        trainer = make_trainer(SETTINGS)
        self.reversion = Reversion(
            trainer,
            self.gate,
            self.writer,
            self.store,
            SETTINGS.name,
            DIGEST,
            migrations(SETTINGS, trainer, self.store.url),
            LABELS,
            SystemClock(),
            stop,
        )

    def judge(self, samples: float, with_item: bool = True) -> Gate:
        """A version of so many samples, not committed."""
        known, positives = np.array([samples]), np.array([samples / 10])
        seen = Seen(samples, known, positives, np.array([samples, samples * with_item]))
        return self.gate.judge([], {}, True, Evidence((), seen, None, None, NOTHING, NOTHING))

    def commit(self, with_item: bool = True) -> int:
        """The number of a version with a thousand samples."""
        gate = self.judge(1000, with_item)
        manifest = self.writer.commit(
            Content(dense_optimizer=self.gate.state(), gate=gate, feature_spec_hash=DIGEST),
        )
        self.gate.committed(manifest)
        assert gate.servable == with_item
        return manifest.version


def test_what_was_refused_stays_so_where_the_learner_cannot_go_back(unique: Callable[[str], str]) -> None:
    line = Line(unique("stays"))
    line.commit()
    for _ in range(REFUSALS):
        line.commit(with_item=False)
    assert line.gate.given_up is not None
    assert line.reversion.to(9_999).version == line.writer.version
    assert line.gate.given_up is None  # not at once again
    assert not line.judge(10).servable


def test_a_kept_base_is_as_good_as_a_version_of_the_line(unique: Callable[[str], str]) -> None:
    line, clock = Line(unique("kept")), SystemClock()
    good = line.commit()
    assert compact(line.store, SETTINGS.name, good, clock) is not None
    after = line.commit(with_item=False)
    assert compact(line.store, SETTINGS.name, after, clock) is not None
    BoundaryLog(line.store).move(after, (good,), clock)
    line.store.delete(paths.manifest_key(good))  # as a collection does
    # From the newest version on its way, where nothing above the boundary is servable, and from itself.
    for target in (after, good):
        assert line.reversion.to(target).version == target
        assert line.gate.memory.servable == good


def test_what_a_person_let_pass_stays_normal_after_a_restart(unique: Callable[[str], str]) -> None:
    line = Line(unique("promoted"))
    line.commit()
    promoted = line.commit(with_item=False)
    log = ControlLog(line.store, SETTINGS.name)
    log.append("promote", who="ann", why="a test", clock=SystemClock(), version=promoted)
    assert line.reversion.to(promoted).version == promoted
    assert line.gate.memory.refusals == 0 and line.judge(1000, with_item=False).servable
    # Later restores take over what that gate knows, without accepting anything anew.
    line.commit(with_item=True)
    normal = line.gate.memory.normal.samples
    line.reversion.to(line.writer.version)
    assert line.gate.memory.normal.samples == normal == 3000


def test_a_restart_accepts_a_promotion_that_its_state_did_not_hear_of(unique: Callable[[str], str]) -> None:
    line = Line(unique("unheard"))
    line.commit()
    promoted = line.commit(with_item=False)
    newest = line.commit(with_item=False)
    log = ControlLog(line.store, SETTINGS.name)
    log.append("promote", who="ann", why="a test", clock=SystemClock(), version=promoted)
    assert line.reversion.to(newest).version == newest
    assert line.gate.memory.servable == promoted
    assert line.judge(1000, with_item=False).servable


def test_after_it_went_back_nothing_is_held_against_it(unique: Callable[[str], str]) -> None:
    line = Line(unique("back"))
    good = line.commit()
    for _ in range(REFUSALS):
        line.commit(with_item=False)
    assert line.gate.given_up == good
    assert line.reversion.to(good).version == good
    assert line.gate.given_up is None and line.judge(10).servable
