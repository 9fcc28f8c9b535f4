"""What a replica's processes let each other know adds up, outlives who wrote it, and is read only where it is whole."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from infra.clock import SystemClock
from infra.metrics import Metrics
from serving.board import Board

REQUESTS = "springtide_replica_requests_total"


def figures() -> Metrics:
    return Metrics("replica", clock=SystemClock())


def sample(page: bytes, name: str) -> float:
    families = text_string_to_metric_families(page.decode())
    return sum(one.value for family in families for one in family.samples if one.name == name)


def test_figures_and_status_of_others_are_told(tmp_path: Path) -> None:
    follower, predictor = figures(), figures()
    follower.inc(REQUESTS, 2, code="200", protocol="v1")
    follower.set("springtide_replica_rows", math.inf, table="a")
    follower.set("springtide_replica_memory_bytes", math.nan)
    follower.observe("springtide_replica_apply_seconds", 0.2)
    predictor.inc(REQUESTS, 3, code="200", protocol="v1")
    Board(tmp_path, "follower").post(follower, {"pinned": None, "applied": [{"version": 2}], "who": "\u00e4"})
    board = Board(tmp_path, "predictor")
    assert board.status("follower") == {"pinned": None, "applied": [{"version": 2}], "who": "\u00e4"}
    assert board.status("supervisor") == {}
    page = board.metrics(predictor)
    assert sample(page, REQUESTS) == 5
    assert sample(page, "springtide_replica_rows") == math.inf
    assert math.isnan(sample(page, "springtide_replica_memory_bytes"))
    assert sample(page, "springtide_replica_apply_seconds_count") == 1


def test_what_the_dead_have_counted_stays(tmp_path: Path) -> None:
    supervisor, own = Board(tmp_path, "supervisor"), figures()
    for dead in range(2):
        counted = figures()
        counted.inc(REQUESTS, 4, code="200", protocol="v1")
        counted.set("springtide_replica_memory_bytes", 10 + dead)
        Board(tmp_path, "follower").post(counted, {"life": dead})
        supervisor.fold("follower", os.getpid())
    page = supervisor.metrics(own)
    assert sample(page, REQUESTS) == 8
    assert sample(page, "springtide_replica_memory_bytes") == 11
    assert supervisor.status("follower") == {"life": 1}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(spoilt=st.binary(max_size=60) | st.integers(0, 10**6))
def test_what_is_not_whole_is_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoilt: bytes | int
) -> None:
    """Any bytes, or what was posted, cut short."""
    counted = figures()
    counted.inc(REQUESTS, 4, code="200", protocol="v1")
    Board(tmp_path, "follower").post(counted, {"life": 1})
    file = tmp_path / f"follower-{os.getpid()}"
    content = file.read_bytes()
    file.write_bytes(spoilt if isinstance(spoilt, bytes) else content[: spoilt % len(content)])
    caplog.clear()
    board = Board(tmp_path, "predictor")
    assert board.status("follower") == {}
    assert sample(board.metrics(figures()), REQUESTS) == 0
    assert "figures_not_readable" in caplog.text
