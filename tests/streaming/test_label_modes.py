"""The truth table in the other two label modes: labels at the close of the window, and labels at once."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from infra.local.flink_cluster import FlinkCluster
from infra.local.kafka_server import KafkaServer
from streaming.planner import Planner
from tests.streaming.events import Stream
from tests.streaming.running import running_join
from tests.streaming.truth import FEEDBACK, IMPRESSIONS, JOIN, WINDOW, of, send, wanted

pytestmark = pytest.mark.long
MODES = ("aligned", "immediate")


@pytest.fixture(scope="module")
def streams(local_kafka: KafkaServer, local_flink: FlinkCluster, planner: Planner) -> Iterator[dict[str, Stream]]:
    """A join of each mode, and everything that came of the table's events."""
    with ExitStack() as stack:
        found = {
            mode: stack.enter_context(
                running_join(local_kafka, local_flink, planner, mode, join={**JOIN, "labels": mode})
            )
            for mode in MODES
        }
        for stream in found.values():
            send(stream)
        yield found


def aligned(row: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """A positive is known when the window closes, as a negative is."""
    return [(*row[:3], float(WINDOW))] if row[0] == "#click.0" else [row]


def immediate(row: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Every impression is a sample at once, and every positive a second one."""
    shown = ("#click.0", "impression", 0, 0.0)
    if row[1] == "timeout":
        return [shown]
    if row[1] == "click":
        return [shown, ("#click.1", "click", 1, row[3])]
    if row[1] == "correction":
        return [("#click.1", "click", 1, row[3])]
    return [row]


WORDS = {"aligned": aligned, "immediate": immediate}


@pytest.mark.parametrize("name", FEEDBACK)
@pytest.mark.parametrize("impression", IMPRESSIONS)
@pytest.mark.parametrize("mode", MODES)
def test_each_combination_gives_what_the_mode_says(
    streams: dict[str, Stream], mode: str, impression: str, name: str
) -> None:
    rows = wanted(impression, name).elements()
    found = of(streams[mode], f"{impression}/{name}")
    assert found == Counter(said for row in rows for said in WORDS[mode](row))
