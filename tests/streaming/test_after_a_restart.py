"""After a restart event time begins anew; what it had closed before stays closed, and no event is lost by that."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter

import pytest

from infra.local.flink_cluster import FlinkCluster
from infra.local.kafka_server import KafkaServer
from streaming import sql
from streaming.flink_rest import FlinkRest
from streaming.planner import Planner
from tests.streaming.controlled import await_true
from tests.streaming.running import CLOCK, running_join
from tests.streaming.truth import JOIN, TIMEOUT, correction, of

pytestmark = pytest.mark.long

# The window of an impression at 0 s is closed by then, its correction window is open.
CLOSED_S = 9.0
PATIENCE_S = 60.0


@pytest.mark.parametrize("labels", ["after_window", "aligned"])
def test_a_click_inside_its_window_that_comes_after_the_negative_and_a_restart_corrects_it(
    local_kafka: KafkaServer, local_flink: FlinkCluster, planner: Planner, labels: str
) -> None:
    """By the event time that its topic has then, which is none, it is in time."""
    join = {**JOIN, "labels": labels}
    with (
        running_join(local_kafka, local_flink, planner, "restarted", join=join) as stream,
        FlinkRest(local_flink.rest) as rest,
    ):
        stream.impression("answered", 0.0)
        stream.producer.flush()
        stream.advance(CLOSED_S)
        stream.until(lambda: of(stream, "answered") == Counter([TIMEOUT]), "the negative")
        plan = sql.plan(stream.pipeline)
        (job,) = (each.id for each in rest.jobs(plan.job_name) if not each.ended)
        now = CLOCK.now_ms()
        await_true(lambda: rest.state_bytes(job, since_ms=now) is not None, "a checkpoint", PATIENCE_S)
        kept = rest.checkpoint(job)
        assert kept is not None and kept.path is not None
        rest.cancel(job)
        await_true(lambda: (found := rest.job(job)) is None or found.ended, "the job's end", PATIENCE_S)
        # The only event that the next job reads: no event time comes before it or with it.
        stream.click("answered", 2.0)
        stream.producer.flush()
        again = planner.submit(plan, rest, recover_from=kept.path)
        try:
            stream.until(lambda: of(stream, "answered") == Counter([TIMEOUT, correction(2.0)]), "the correction")
        finally:
            rest.cancel(again)
