"""What the gate gets to see of samples: verdicts of each kind of feedback by its own window and event time."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np

from infra.clock import iso
from learner.assembly import build_gate
from learner.gate_memory import Memory
from learner.trainer import Trainer
from tests.learner.messages import PIPELINE, START_MS, batch, message, pipeline
from tests.learner.training import make_trainer

MINUTE = 60_000


def two_kinds() -> Trainer:
    """Clicks within an hour, and purchases within a minute."""
    clicks, buys = PIPELINE["events"]["feedback"][0], {"name": "buy", "topic": "buys", "key": "id", "time": "at"}
    long, short = {"window": "1h", "correction_window": "2h"}, {"window": "1m", "correction_window": "2m"}
    events = PIPELINE["events"] | {"feedback": [clicks | long, buys | short]}
    spec = pipeline(events=events, model={"name": "mmoe", "hidden": [8]})
    trainer = make_trainer(spec)
    gate = build_gate(spec, trainer)
    assert gate.stream.window_ms == 60 * MINUTE and gate.stream.ahead_ms >= 120 * MINUTE
    return trainer


def told(number: int, kind: str, label: str, value: int, minutes: float) -> bytes:
    labels = {"label_click": None, "label_buy": None, f"label_{label}": value}
    known = iso(int(START_MS + minutes * MINUTE))
    return message(
        number, sample_id=f"{number}#{label}.0", kind=kind, known_ts=known, impression_ts=iso(START_MS), **labels
    )


def take(trainer: Trainer, *messages: bytes) -> Any:
    read = batch(list(messages), 0)
    read.timestamps_ms[:] = START_MS + 300 * MINUTE
    trainer.train(read)
    assert trainer.witness is not None
    return trainer.witness.take()


def test_event_time_has_passed_where_the_first_kind_says_so() -> None:
    trainer = two_kinds()
    clicked = told(1, "click", "click", 1, 70)
    no_buy, no_click = told(2, "timeout", "buy", 0, 90), told(3, "timeout", "click", 0, 60)
    _, _, known, passed = take(trainer, clicked, no_buy)
    assert known == START_MS + 90 * MINUTE and passed is None
    _, _, known, passed = take(trainer, no_click)
    assert known == passed == START_MS + 60 * MINUTE


def test_verdicts_are_told_from_feedback_by_the_window_of_their_kind() -> None:
    _, seen, _, _ = take(
        two_kinds(),
        told(1, "click", "click", 1, 30),
        told(2, "click", "buy", 1, 0.5),
        told(3, "timeout", "click", 0, 60),
        told(4, "timeout", "buy", 0, 1),
    )
    np.testing.assert_array_equal(seen.known, [1, 1])
    np.testing.assert_array_equal(seen.positives, [0, 0])


def test_memory_that_does_not_say_what_has_passed_takes_the_newest_for_it() -> None:
    memory = Memory(1, 1)
    memory.newest_ms, memory.passed_ms = 7, 5
    arrays = memory.to_arrays()
    again = Memory(1, 1)
    again.load(arrays)
    assert (again.newest_ms, again.passed_ms) == (7, 5)
    again.load(arrays | {"gate/state": arrays["gate/state"][:4]})
    assert (again.newest_ms, again.passed_ms) == (7, 7)
