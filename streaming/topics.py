"""The topics that Springtide owns: their names and settings; must not know who reads or writes them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from infra import spec
from infra.kafka import TopicSettings, creation_settings
from infra.units import Duration

# The join key of a synthetic impression begins with this, so that a person can tell it from traffic.
PROBE_PREFIX = "__probe-"
# The join key of a heartbeat: it moves event time on and is joined with nothing.
HEARTBEAT_KEY = "__hb"

# Reasons in `late` and `dead`, as they stand on the wire.
LATE_REASONS = ("orphan", "late_impression", "repeat")
DEAD_REASONS = ("malformed", "no_key", "no_time", "future", "no_value")

_PREFIX = "springtide"
_IMPRESSIONS = "impressions"
_HEARTBEAT_RETENTION = Duration("1h")
# An event of a broker's usual megabyte, its key beside it and every character escaped, still fits.
LARGEST_MESSAGE = 16 << 20


def own_prefix(model: str) -> str:
    """What the names of all topics, consumer groups and transactions of one model begin with."""
    return f"{_PREFIX}.{model}."


def samples(model: str) -> str:
    """Labelled samples, keyed by join key."""
    return f"{_PREFIX}.{model}.samples"


def late(model: str) -> str:
    """Orphaned feedback and late impressions."""
    return f"{_PREFIX}.{model}.late"


def dead(model: str) -> str:
    """Events that could not be read, with their original bytes."""
    return f"{_PREFIX}.{model}.dead"


def samples_of(pipeline: spec.Pipeline) -> str:
    """The samples that a model learns from: its own join's, or those that ``samples.of`` names."""
    return samples(_joined_by(pipeline))


def late_of(pipeline: spec.Pipeline) -> str:
    """What was late for the samples that a model learns from."""
    return late(_joined_by(pipeline))


def dead_of(pipeline: spec.Pipeline) -> str:
    """What could not be read for the samples that a model learns from."""
    return dead(_joined_by(pipeline))


def impressions_heartbeat(model: str) -> str:
    """Moves the event time of the impressions while none arrive."""
    return f"{_PREFIX}.{model}.heartbeat.{_IMPRESSIONS}"


def feedback_heartbeat(model: str, feedback: str) -> str:
    """Moves the event time of one kind of feedback while none arrives; none is called `impressions`."""
    return f"{_PREFIX}.{model}.heartbeat.{feedback}"


def heartbeats(pipeline: spec.Pipeline) -> tuple[str, ...]:
    """Every heartbeat topic, the impressions' first."""
    feedback = (feedback_heartbeat(pipeline.name, each.name) for each in pipeline.events.feedback)
    return (impressions_heartbeat(pipeline.name), *feedback)


def user_topics(pipeline: spec.Pipeline) -> tuple[str, ...]:
    """The topics that must exist and are only read, each once, the impressions' first."""
    events = pipeline.events
    return tuple(dict.fromkeys((events.impressions.topic, *(feedback.topic for feedback in events.feedback))))


def own_topics(pipeline: spec.Pipeline) -> tuple[TopicSettings, ...]:
    """Every topic that Springtide creates for one model, with its settings; none where another's join makes samples."""
    if pipeline.samples.of is not None:
        return ()
    name, wanted = pipeline.name, pipeline.samples
    return (
        _topic(samples(name), wanted.partitions, wanted),
        _topic(late(name), 1, wanted),
        _topic(dead(name), 1, wanted),
        *(
            TopicSettings(each, replication=wanted.replication, retention_ms=_HEARTBEAT_RETENTION.ms)
            for each in heartbeats(pipeline)
        ),
    )


def creation_commands(pipeline: spec.Pipeline) -> tuple[str, ...]:
    """The commands that create them, for whoever may where Springtide may not; one that exists stays as it is."""
    tool = f"kafka-topics.sh --bootstrap-server {pipeline.kafka.bootstrap} --create --if-not-exists"
    return tuple(
        f"{tool} --topic {each.name} --partitions {each.partitions} --replication-factor {each.replication}"
        + "".join(f" --config {key}={value}" for key, value in creation_settings(each).items())
        for each in own_topics(pipeline)
    )


def is_probe(join_key: str) -> bool:
    """Whether an impression is synthetic."""
    return join_key.startswith(PROBE_PREFIX)


def _joined_by(pipeline: spec.Pipeline) -> str:
    return pipeline.samples.of or pipeline.name


def _topic(name: str, partitions: int, wanted: spec.Samples) -> TopicSettings:
    return TopicSettings(
        name,
        partitions=partitions,
        replication=wanted.replication,
        retention_ms=wanted.retention.ms,
        largest_message=LARGEST_MESSAGE,
    )
