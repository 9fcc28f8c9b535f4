"""Samples that Kafka has lost stop the learner with a name, and a person may let it go on without them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from checkpointing.manifest import Position
from infra import spec
from infra.errors import Invalid
from infra.kafka import KafkaAdmin, PartitionReader, PositionOutOfRange
from learner.positions import Positions
from tests.learner.messages import message
from tests.learner.stream import CLOCK, make_pipeline, make_topic, send


@pytest.fixture
def pipeline(local_kafka: Any, unique: Callable[[str], str]) -> spec.Pipeline:
    """Its samples topic holds offsets 0 to 9 of partition 0, and nothing in partition 1."""
    made = make_pipeline(unique("lost"), local_kafka.bootstrap)
    make_topic(made, partitions=2)
    send(made, [(0, message(number)) for number in range(10)])
    return made


@contextmanager
def started(pipeline: spec.Pipeline, restored: list[Position], *, accept_gap: bool = False) -> Iterator[Positions]:
    admin = KafkaAdmin(pipeline.kafka, clock=CLOCK)
    topic = make_topic(pipeline, partitions=2)
    with PartitionReader(pipeline.kafka, topic, group=pipeline.name, clock=CLOCK) as reader:
        positions = Positions(reader, admin, CLOCK, accept_gap=accept_gap)
        positions.start(restored)
        yield positions


def at(positions: Positions) -> dict[int, int]:
    return {position.partition: position.next_offset for position in positions.current()}


def test_what_retention_took_is_named_and_may_be_left(pipeline: spec.Pipeline) -> None:
    with started(pipeline, []) as positions:
        three = [each.model_copy(update={"next_offset": 3 * (1 - each.partition)}) for each in positions.current()]
    with started(pipeline, three) as positions:
        assert at(positions) == {0: 3, 1: 0}
    KafkaAdmin(pipeline.kafka, clock=CLOCK).delete_records(three[0].topic, {0: 7})
    with (
        pytest.raises(PositionOutOfRange, match=r"position 3 is out of range.*from 7 to 10.*--accept-gap"),
        started(pipeline, three),
    ):
        pass
    with started(pipeline, three, accept_gap=True) as positions:
        assert at(positions) == {0: 7, 1: 0}


def test_positions_beyond_the_end_are_lost_too(pipeline: spec.Pipeline) -> None:
    with started(pipeline, []) as positions:
        beyond = [each.model_copy(update={"next_offset": 12 + each.partition}) for each in positions.current()]
    with pytest.raises(PositionOutOfRange, match=r"position 1[23] is out of range"), started(pipeline, beyond):
        pass
    with started(pipeline, beyond, accept_gap=True) as positions:
        assert at(positions) == {0: 10, 1: 0}


def test_a_topic_made_again_is_named_and_may_be_begun(pipeline: spec.Pipeline) -> None:
    with started(pipeline, []) as positions:
        another = [each.model_copy(update={"topic_id": "another", "next_offset": 5}) for each in positions.current()]
    with pytest.raises(Invalid, match=r"is not the one.*was another.*--accept-gap"), started(pipeline, another):
        pass
    with started(pipeline, another, accept_gap=True) as positions:
        assert at(positions) == {0: 0, 1: 0}
