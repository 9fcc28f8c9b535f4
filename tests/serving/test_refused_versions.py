"""What cannot be applied is passed over where there is nothing else, is tried again in time, and is told as it is."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from typing import Any

import pytest

from checkpointing.follower import Follower
from infra.errors import Corrupt, Invalid, Unavailable
from infra.object_store import ObjectStore
from infra.spec import Pipeline
from serving.follow import LONGEST_WAIT_S, START_OVER_AFTER_S
from tests.checkpointing.stepping_clock import SteppingClock
from tests.serving.conftest import Replica
from tests.serving.model import Model


def trouble_of(replica: Replica) -> Exception | None:
    trouble = replica.following.trouble
    return None if trouble is None else trouble.error


def test_a_replica_that_starts_takes_the_newest_version_that_it_can(model: Model, stepped: Replica) -> None:
    model.commit(1)
    model.commit(2)
    model.commit(3, feature_spec_hash="0" * 64)
    model.commit(4, feature_spec_hash="0" * 64)
    for _ in range(4):
        stepped.following.step()
    assert stepped.predictor.version == 3
    assert isinstance(trouble_of(stepped), Invalid)
    model.commit(5)
    stepped.following.step()
    assert stepped.predictor.version == 6
    assert trouble_of(stepped) is None


def test_where_no_version_fits_none_is_taken_and_the_store_is_left_alone(
    model: Model, pipeline: Pipeline, store: ObjectStore
) -> None:
    model.commit(1, feature_spec_hash="0" * 64)
    follower = Follower(store, pipeline.name, SteppingClock())
    switch = follower.poll().switch
    assert switch is not None
    follower.refused(switch.version)
    assert [follower.poll().switch for _ in range(3)] == [None, None, None]
    model.commit(2)
    switch = follower.poll().switch
    assert switch is not None
    assert (switch.version, switch.full) == (3, True)


class Failing:
    """A follower whose look fails by a defect."""

    passed_over = 0
    problem = None
    pin = None

    def poll(self) -> Any:
        raise ZeroDivisionError("a defect")


def test_what_fails_at_every_look_is_begun_anew_in_time(
    model: Model, stepped: Replica, clock: SteppingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.commit(1)
    waits: list[float] = []
    stop = threading.Event()

    def wait(of: threading.Event, seconds: float) -> bool:
        clock.seconds += seconds
        waits.append(seconds)
        if stepped.predictor.version is not None or len(waits) > 100:
            stop.set()
        return of.is_set()

    monkeypatch.setattr(clock, "wait", wait)
    monkeypatch.setattr(stepped.following, "_follower", Failing())
    stepped.following.run(stop)
    assert stepped.predictor.version == 2
    assert START_OVER_AFTER_S / LONGEST_WAIT_S <= len(waits) <= START_OVER_AFTER_S / LONGEST_WAIT_S + 2


def test_a_defect_of_the_acceptance_is_not_told_as_wrong_rows(
    model: Model, stepped: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: Any) -> Any:
        raise KeyError("a defect")

    model.commit(1)
    monkeypatch.setattr(stepped.following._acceptance, "accept", defect)
    with pytest.raises(KeyError):
        stepped.following.step()


def test_rows_that_do_not_fit_are_told(model: Model, stepped: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    def unfit(*_: Any, **__: Any) -> None:
        raise ValueError("too wide")

    model.commit(1)
    monkeypatch.setattr(stepped.switch, "publish", unfit)
    stepped.following.step()
    assert isinstance(trouble_of(stepped), Corrupt)
    assert "do not fit their tables: too wide" in str(trouble_of(stepped))


def test_a_silent_store_is_not_a_refused_version(
    model: Model, stepped: Replica, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model.commit(1)
    stepped.following.step()
    model.commit(2, feature_spec_hash="0" * 64)
    stepped.following.step()
    stop = threading.Event()

    def silent() -> Any:
        stop.set()
        raise Unavailable("object store: no answer")

    with monkeypatch.context() as patched:
        patched.setattr(stepped.following._follower, "poll", silent)
        stepped.following.run(stop)
    assert isinstance(trouble_of(stepped), Unavailable)
    stepped.following.step()
    assert isinstance(trouble_of(stepped), Invalid)  # still, and told already
    told = [record.getMessage() for record in caplog.records if "version_refused" in record.getMessage()]
    assert len(told) == 1
    assert "made by other features" in told[0]
