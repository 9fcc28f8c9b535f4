"""What a join finds before it begins, and from when on it emits; must not know Flink or its checkpoints."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from infra import spec
from infra.clock import Clock
from infra.errors import Invalid, Unavailable
from infra.kafka import KafkaAdmin, PartitionReader, TopicsMissing
from streaming import topics


def require_own_join(pipeline: spec.Pipeline) -> None:
    """One join makes the samples for all models that learn from them.

    Raises:
        Invalid: They are made by another model's.
    """
    if pipeline.samples.of is not None:
        raise Invalid(
            f"model `{pipeline.name}` learns from the samples of `{pipeline.samples.of}`",
            wanted="one join for both",
            cure=f"run this for `{pipeline.samples.of}`, or leave `samples.of` out",
        )


def prepare_topics(pipeline: spec.Pipeline, admin: KafkaAdmin) -> None:
    """Creates Springtide's topics.

    Raises:
        Invalid: The brokers refuse the login.
        Unavailable: No broker answers, or a topic of the user's is missing. It may be made at any moment, by whoever
            sends the first event: a join that ended instead would be started again and again.
    """
    try:
        admin.require_topics(topics.user_topics(pipeline))
    except TopicsMissing as missing:
        raise Unavailable(missing.what, cure=missing.cure, where=missing.where) from None
    admin.ensure_topics(topics.own_topics(pipeline))


def first_cutover_ms(pipeline: spec.Pipeline, clock: Clock, *, replay: bool) -> int:
    """From when on a job emits that goes on from nothing, ms since 1970; 0 for everything that the topics hold."""
    return 0 if replay or pipeline.join.start == "earliest" else clock.now_ms()


def require_no_samples(pipeline: spec.Pipeline, clock: Clock) -> None:
    """Begins nothing anew over what was joined before.

    Raises:
        Invalid: The topic of samples holds, or held, records.
        Unavailable: No broker answers.
    """
    topic = topics.samples(pipeline.name)
    with PartitionReader(pipeline.kafka, topic, group=f"springtide.{pipeline.name}.join", clock=clock) as reader:
        written = sum(marks.high for marks in reader.watermarks().values())
    if written:
        raise Invalid(
            f"topic `{topic}` has {written} records already, and Flink knows no checkpoint of the join to go on from",
            wanted="a job or a checkpoint of the same plan on the cluster, or an empty topic",
            cure="to join again everything that the topics still hold, run `springtide join --replay`",
            where=pipeline.kafka.bootstrap,
        )
