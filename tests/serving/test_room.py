"""A version for which there is no room is kept and tried again, and read anew where that lasts."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from serving.follow import ROOM_AGAIN_AFTER_S, START_OVER_AFTER_S
from tests.checkpointing.stepping_clock import SteppingClock
from tests.serving.conftest import Replica
from tests.serving.model import Model
from tests.serving.test_following import check


@pytest.mark.parametrize(
    ("error", "told"), [(MemoryError(), "no memory"), (OSError(24, "too many open files"), "too many open files")]
)
@pytest.mark.parametrize("full", [True, False])
def test_what_has_no_room_is_kept_and_tried_again(
    model: Model,
    stepped: Replica,
    clock: SteppingClock,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    told: str,
    full: bool,
) -> None:
    if not full:
        model.commit(7)
        stepped.following.step()
    before = stepped.predictor.version
    model.commit(1)

    def refuse(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as no_room:
        no_room.setattr(stepped.switch, "publish", refuse)
        stepped.following.step()
        clock.seconds += ROOM_AGAIN_AFTER_S
        stepped.following.step()
    trouble = stepped.following.trouble
    assert trouble is not None
    assert told in str(trouble.error)
    stepped.following.step()
    assert stepped.predictor.version == before
    # The store is not read again for it, and what came meanwhile follows.
    follower = stepped.following._follower
    model.commit(2)
    clock.seconds += ROOM_AGAIN_AFTER_S
    stepped.following.step()
    assert stepped.following._follower is follower
    check(stepped, model)
    assert stepped.following.trouble is None


def test_where_there_is_no_room_for_long_all_is_read_again(
    model: Model, stepped: Replica, clock: SteppingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise MemoryError

    model.commit(1)
    with monkeypatch.context() as no_room:
        no_room.setattr(stepped.switch, "publish", refuse)
        stepped.following.step()
    follower = stepped.following._follower
    clock.seconds += START_OVER_AFTER_S
    stepped.following.step()
    assert stepped.following._follower is not follower
    check(stepped, model)
