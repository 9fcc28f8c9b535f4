"""A pin to a version that the replica keeps, and its end, read no rows: the version answers as it stands."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from checkpointing.control import ControlLog, DecisionKind
from infra.object_store import ObjectStore
from serving.prediction import Question
from tests.checkpointing.stepping_clock import SteppingClock
from tests.serving.conftest import Replica
from tests.serving.model import Columns, Model, arrow, make_columns

Rows = npt.NDArray[np.float32]
COLUMNS: Columns = make_columns(20, seed=77)


class Pinned:
    """A replica that keeps three versions, what each of them answers, and a person who decides."""

    def __init__(self, model: Model, replica: Replica, store: ObjectStore, clock: SteppingClock) -> None:
        self.model, self.replica, self.clock = model, replica, clock
        self.log = ControlLog(store, model.pipeline.name)
        self.expected: dict[int, Rows] = {}
        replica.switch._kept = 3

    def commit(self, seed: int) -> int:
        number = self.model.commit(seed).version
        self.expected[number] = self.model.expected(COLUMNS)
        return number

    def look(self, seconds: float = 2) -> int | None:
        """One look at the store; returns which version answers, as it must."""
        self.clock.seconds += seconds
        self.replica.following.step()
        assert self.replica.following.trouble is None
        prediction = self.replica.predictor.predict(Question(arrow(COLUMNS), 20))
        np.testing.assert_allclose(prediction.values, self.expected[prediction.version], rtol=0, atol=2e-6)
        return prediction.version

    def decide(self, kind: DecisionKind, version: int | None = None) -> None:
        self.log.append(kind, who="ann", why="a test", clock=self.clock, version=version)


@pytest.fixture
def pinned(model: Model, stepped: Replica, store: ObjectStore, clock: SteppingClock) -> Pinned:
    return Pinned(model, stepped, store, clock)


def test_a_kept_version_answers_again_without_its_rows(pinned: Pinned, tmp_path: Path) -> None:
    numbers = []
    for seed in range(3):
        numbers.append(pinned.commit(seed))
        pinned.look()
    first, second, third = numbers
    packs = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.name in {"pack", "serving.pack"}}
    assert packs
    rows = {one.version.number: one.rows for one in pinned.replica.switch.all()}
    for file in packs:
        file.unlink()
    for wanted in (first, third, second):
        pinned.decide("pin", wanted)
        assert pinned.look() == wanted
        assert sorted(pinned.replica.switch.kept) == numbers
        assert pinned.replica.switch.read().rows is rows[wanted]
    pinned.decide("unpin")
    assert pinned.look() == third
    applied = [one.version for one in pinned.replica.following.applied]
    assert applied == [*numbers, first, third, second, third]
    assert pinned.replica.metrics.value("springtide_replica_applied_total", kind="kept") == 4

    # What comes then extends it, and what came while another was pinned is read.
    fourth = pinned.commit(4)
    assert pinned.look() == fourth
    pinned.decide("pin", third)
    assert pinned.look() == third
    for file, content in packs.items():
        file.write_bytes(content)
    fifth = pinned.commit(5)
    assert pinned.look() == third
    pinned.decide("unpin")
    assert pinned.look() == fifth
    assert pinned.look(0) == pinned.commit(6) - 1
    assert pinned.look() == fifth + 1


def test_what_is_kept_no_longer_is_read(pinned: Pinned) -> None:
    numbers = []
    for seed in range(5):
        numbers.append(pinned.commit(seed))
        pinned.look()
    pinned.decide("pin", numbers[0])
    assert pinned.look() == numbers[0]
    assert pinned.replica.switch.kept == [numbers[0], numbers[4], numbers[3]]
    with pytest.raises(KeyError, match="version 3 is not kept; 2, 6, 5 are"):
        pinned.replica.switch.go_back(numbers[1])
