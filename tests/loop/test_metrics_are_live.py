"""Every metric that a rule, a chart or a document names is on a running process's /metrics, and no other is."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys

import httpx
from prometheus_client.parser import text_string_to_metric_families

from infra.local.ports import free_ports
from infra.local.process import Process
from infra.metrics_table import PREFIX, TABLE
from tests.asking import HTTP
from tests.dashboard.test_monitoring import EXPRESSIONS, metrics_in
from tests.loop.conftest import RunningLoop

# These have a first value when something has gone wrong, or an input was silent.
OF_TROUBLE = {
    "springtide_unavailable_total",
    "springtide_join_dead_letters_total",
    "springtide_join_late_total",
    "springtide_learner_refused_total",
    "springtide_learner_rejected_total",
}


def answers(url: str) -> bool:
    """Whether something answers there already."""
    try:
        return HTTP.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False


def test_what_rules_and_charts_name_is_exported(running: RunningLoop) -> None:
    targets = running.pipeline.dashboard.targets
    canary = f"127.0.0.1:{free_ports(1)[0]}"
    addresses = {
        "join": targets.join,
        "learner": targets.learner,
        "replica": targets.replicas[0],
        "dashboard": f"http://127.0.0.1:{running.pipeline.dashboard.port}",
        "canary": f"http://{canary}",
    }
    wanted = set().union(*map(metrics_in, EXPRESSIONS.values())) - OF_TROUBLE
    seen: set[str] = set()

    def all_seen() -> bool:
        for room, address in addresses.items():
            text = HTTP.get(f"{address}/metrics", timeout=10).text
            families = [f for f in text_string_to_metric_families(text) if f.name.startswith(PREFIX)]
            names = {family.name + ("_total" if family.type == "counter" else "") for family in families}
            assert names == {row.name for row in TABLE if row.room in {room, "every"}}
            seen.update(
                family.name + ("_total" if family.type == "counter" else "") for family in families if family.samples
            )
        return wanted <= seen

    command = [sys.executable, "-m", "springtide", "probe", str(running.loop.file), "--every", "5s", "--listen", canary]
    probing = Process("canary", command, running.loop.logs / "canary.log")
    probing.start()
    running.start_traffic()
    # Calibration is told of closed buckets, and requests of replicas that were asked.
    ask = {"instances": [{"user": "u1", "item": "i1", "tags": ["t1"], "price": 1.0}]}
    HTTP.post(f"{addresses['replica']}/v1/models/{running.pipeline.name}:predict", json=ask)
    try:
        probing.wait_until_ready(lambda: answers(f"http://{canary}/healthz"), 60)
        running.until(all_seen, 60, "every metric with a value")
    except AssertionError:
        assert wanted - seen == set()
        raise
    finally:
        probing.terminate()
        running.stop_traffic()
    running.assert_nothing_lost()
