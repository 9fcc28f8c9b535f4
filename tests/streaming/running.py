"""Has one join run on the local cluster while a test sends and reads its events; must not know a test's cases."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from infra.clock import SystemClock, new_uuid
from infra.local.flink_cluster import FlinkCluster
from infra.local.kafka_server import KafkaServer
from streaming import sql
from streaming.flink_rest import FlinkRest
from streaming.planner import Planner
from tests.streaming.encodings import Encoder, json_encoder
from tests.streaming.events import Stream
from tests.streaming.pipelines import pipeline
from tests.streaming.truth import AGE_MS, JOIN

CLOCK = SystemClock()


@contextmanager
def running_join(
    broker: KafkaServer,
    cluster: FlinkCluster,
    planner: Planner,
    name: str,
    *,
    marks: Mapping[str, Mapping[str, Any]] | None = None,
    encoders: tuple[Encoder, Encoder] = (json_encoder, json_encoder),
    age_ms: int = AGE_MS,
    cutover_s: float | None = None,
    **parts: Any,
) -> Iterator[Stream]:
    """The topics and the job of one pipeline, whose event time only the test moves; the job ends with the block.

    Args:
        broker: Holds the topics.
        cluster: Runs the job.
        planner: Submits it.
        name: What the pipeline's own name begins with, and the topics' of a pipeline without other ones.
        marks: Kind of feedback -> the fields by which an event is one of it.
        encoders: How the impressions are written, and how the feedback.
        age_ms: How long ago event time 0 s of the test is.
        cutover_s: From which event time on the job emits; None for everything.
        parts: What differs from the tests' pipeline, whose windows are those of the truth table.
    """
    spec = pipeline(
        f"{name}-{new_uuid()[:8]}",
        kafka={"bootstrap": broker.bootstrap},
        join=parts.pop("join", JOIN),
        flink={"rest": cluster.rest, "checkpoint_interval": "2s"} | parts.pop("flink", {}),
        **parts,
    )
    stream = Stream(spec, CLOCK.now_ms() - age_ms, marks, encoders)
    cutover_ms = 0 if cutover_s is None else stream.base_ms + round(cutover_s * 1000)
    with FlinkRest(cluster.rest) as rest:
        job = planner.submit(sql.plan(spec, cutover_ms=cutover_ms), rest)
        try:
            yield stream
        finally:
            rest.cancel(job)
            stream.close()
