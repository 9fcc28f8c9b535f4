"""The next batch is made ready beside this one, in order and never more than one; late rows are a mode of their own."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from infra.kafka import PositionOutOfRange
from infra.kafka.batch import Batch
from learner.look_ahead import LookAhead
from learner.preparation import Ready
from learner.trainer import Trainer, state_of
from tests.learner.messages import batch, message, pipeline
from tests.learner.training import make_trainer

LARGEST = 64


class Topic:
    """Batches of given sizes; counts what is polled and made ready, and on which threads."""

    def __init__(self, trainer: Trainer, sizes: Sequence[int]) -> None:
        self._trainer = trainer
        bounds = np.cumsum([0, *sizes])
        self._left = deque(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
        self.waits: list[bool] = []
        self.made_by: list[str] = []

    def poll(self, *, wait: bool) -> Batch | None:
        self.waits.append(wait)
        if not self._left:
            return None
        begin, end = self._left.popleft()
        return batch([message(number) for number in range(begin, end)], begin)

    def ready(self, read: Batch) -> Ready:
        self.made_by.append(threading.current_thread().name)
        return self._trainer.ready(read)


def learn_all(sizes: Sequence[int], cores: int) -> tuple[dict[str, Any], Topic]:
    trainer = make_trainer()
    topic = Topic(trainer, sizes)
    ahead = LookAhead(topic.poll, topic.ready, LARGEST, cores)
    while (ready := ahead.next()) is not None:
        trainer.learn(ready)
    return state_of(trainer), topic


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return list(one) == list(other) and all(np.array_equal(one[name], other[name]) for name in one)


def test_a_backlog_is_read_one_batch_ahead_and_learned_as_without() -> None:
    sizes = [LARGEST, LARGEST, LARGEST, 10]
    alone, first = learn_all(sizes, cores=1)
    beside, second = learn_all(sizes, cores=2)
    assert same(alone, beside)
    assert set(first.made_by) == {threading.current_thread().name}
    assert all(name.startswith("look-ahead") for name in second.made_by)
    # Waited for once; the others were asked for while a full batch was there to be learned.
    assert second.waits == [True, False, False, False, True]


def test_without_a_backlog_each_batch_is_read_when_it_is_wanted() -> None:
    _, topic = learn_all([5, 7], cores=2)
    assert topic.waits == [True, True, True]
    assert set(topic.made_by) == {threading.current_thread().name}


def test_what_is_in_flight_can_be_dropped() -> None:
    trainer = make_trainer()
    topic = Topic(trainer, [LARGEST, LARGEST, 3])
    ahead = LookAhead(topic.poll, topic.ready, LARGEST, cores=2)
    assert ahead.next() is not None
    ahead.forget()
    ready = ahead.next()
    assert ready is not None and len(ready.batch) == 3


def test_settled_nothing_is_being_read_and_what_was_read_is_the_next_batch() -> None:
    trainer = make_trainer()
    topic = Topic(trainer, [LARGEST, LARGEST, 3])
    allowed, reading = threading.Event(), threading.Lock()

    def poll(*, wait: bool) -> Batch | None:
        assert reading.acquire(blocking=False), "two threads read at once"
        try:
            assert wait or allowed.wait(30)
            return topic.poll(wait=wait)
        finally:
            reading.release()

    ahead = LookAhead(poll, topic.ready, LARGEST, cores=2)
    assert ahead.next() is not None
    timer = threading.Timer(0.05, allowed.set)
    timer.start()
    ahead.settle()
    assert allowed.is_set() and not reading.locked() and topic.waits == [True, False]
    sizes = []
    while (ready := ahead.next()) is not None:
        sizes.append(len(ready.batch))
        ahead.settle()
    assert sizes == [LARGEST, 3]
    ahead.close()


def test_what_goes_wrong_ahead_is_told_when_its_turn_has_come() -> None:
    trainer = make_trainer()
    topic = Topic(trainer, [LARGEST, LARGEST])

    def poll(*, wait: bool) -> Batch | None:
        if not wait:
            raise PositionOutOfRange("samples", 0, 7, None)
        return topic.poll(wait=wait)

    ahead = LookAhead(poll, topic.ready, LARGEST, cores=2)
    assert ahead.next() is not None
    ahead.settle()
    with pytest.raises(PositionOutOfRange):
        ahead.next()
    ahead.close()


def train(trainer: Trainer, sizes: Sequence[int], drains: Sequence[int] = ()) -> dict[str, Any]:
    begin = 0
    for place, size in enumerate(sizes):
        trainer.train(batch([message(number) for number in range(begin, begin + size)], begin))
        begin += size
        if place in drains:
            trainer.drain()
    return state_of(trainer)


def late() -> Trainer:
    return make_trainer(pipeline(learner={"max_batch": LARGEST, "port": 0, "staleness": 1}))


def test_late_rows_are_the_same_bits_every_time_and_a_drain_is_part_of_them() -> None:
    sizes = [LARGEST] * 12
    one = train(late(), sizes, drains=[3])
    assert same(one, train(late(), sizes, drains=[3]))
    assert not same(one, train(late(), sizes))
    assert not same(one, train(make_trainer(), sizes))


def test_drained_after_every_batch_late_rows_are_those_of_the_exact_mode() -> None:
    sizes = [LARGEST] * 4
    assert same(train(late(), sizes, drains=range(4)), train(make_trainer(), sizes))


@pytest.mark.parametrize("trainer", [make_trainer, late])
def test_both_modes_learn_what_the_stream_teaches(trainer: Any) -> None:
    learner = trainer()
    train(learner, [LARGEST] * 40)
    learner.metrics.take()
    learner.train(batch([message(number) for number in range(6400, 6464)]))
    (bucket,) = learner.metrics.take().values()
    assert bucket["log_loss_sum"] / 64 < 0.66


def test_late_rows_pass_over_a_gradient_that_explodes() -> None:
    learner = late()
    learner.train(batch([message(number) for number in range(8)]))
    learned = learner.train(batch([message(8, weight=1e6), message(9)], 8))
    learner.train(batch([message(number) for number in range(10, 18)], 10))
    assert learned.rejected == []
    assert all(np.isfinite(value).all() for name, value in state_of(learner).items() if name.startswith("rows"))
