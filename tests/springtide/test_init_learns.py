"""What `springtide init` writes for the demo's topics learns as well as the pipeline that was written by hand."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest

from checkpointing.history import manifests
from checkpointing.quality import by_bucket
from infra.clock import SystemClock
from infra.kafka import Producer
from infra.local.stack import LocalStack
from infra.object_store import open_store
from infra.pipeline_file import load_pipeline
from infra.spec import Pipeline
from springtide.datasets.event import Event
from springtide.datasets.movielens import MovieLens
from springtide.datasets.pace import steady
from springtide.datasets.replay import Replay
from springtide.demo import last_half
from springtide.init_command import InitSettings, run_init
from springtide.local_pipeline import Ports, local_pipeline
from springtide.loop import Loop
from springtide.reckoning import Reckoner

DATA = Path(".springtide/data")
# What `init` gets to see before anything runs, and what both learn from.
FIRST, EVENTS, PER_SECOND = 1500, 60_000, 350.0
SETTLE_SECONDS = 120.0
WITHIN = 0.01


def here(drafted: Pipeline, hand: Pipeline, ports: Ports) -> Pipeline:
    """The drafted pipeline on the servers of the other: only addresses are taken over."""
    return drafted.model_copy(
        update={
            "flink": hand.flink,
            "store": hand.store.model_copy(update={"url": drafted.store.url}),
            "control": drafted.control.model_copy(update={"port": ports.join}),
            "learner": drafted.learner.model_copy(update={"port": ports.learner}),
            "dashboard": hand.dashboard.model_copy(
                update={
                    "targets": hand.dashboard.targets.model_copy(
                        update={
                            "join": f"http://127.0.0.1:{ports.join}",
                            "learner": f"http://127.0.0.1:{ports.learner}",
                        }
                    )
                }
            ),
        }
    )


@contextmanager
def learning(pipeline: Pipeline, home: Path) -> Iterator[Loop]:
    """Join and learner of a pipeline, without replicas and page."""
    loop = Loop(pipeline, home, home / "logs", page=False)
    names = ("join", "learner")
    try:
        for name in names:
            loop.processes[name].start()
        for name in names:
            loop.await_ready(name)
        yield loop
    finally:
        for name in names:
            loop.processes[name].signal_stop()
        for name in names:
            loop.processes[name].terminate()


def auc(pipeline: Pipeline) -> float:
    """Of predictions before learning, over the last half of the impressions' time."""
    found = last_half(by_bucket(each.metrics for each in manifests(open_store(pipeline.store), pipeline.name))).auc
    assert found is not None
    return found


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_draft_learns_as_the_pipeline_by_hand(
    local_stack: LocalStack,
    tmp_path: Path,
    unique: Callable[[str], str],
    record_property: Callable[[str, object], None],
) -> None:
    """Both join and learn the same two topics side by side."""
    data, clock, stop = MovieLens.load(DATA), SystemClock(), threading.Event()
    name = unique("movielens")
    hand = local_pipeline(data.document(), name=name, stack=local_stack, home=tmp_path / "hand", ports=Ports.free())
    loop = Loop(hand, tmp_path / "hand", tmp_path / "logs", page=False)
    loop.create_topics()
    log = list(steady(list(islice(data.events(), EVENTS)), PER_SECOND))

    def replay(events: list[Event]) -> tuple[int, int]:
        with Producer(hand.kafka) as producer:
            sent = Replay(hand.events, hand.join.window.ms, producer, clock).run(events, speed=1.0, stop=stop)
        return sent.impressions, sent.clicks

    first = replay(log[:FIRST])
    file = tmp_path / "pipeline.yaml"
    topics = (hand.events.impressions.topic, (hand.events.feedback[0].topic,))
    store = f"s3://{local_stack.s3.bucket}/{name}-drafted"
    kafka = {"bootstrap": hand.kafka.bootstrap}
    run_init(InitSettings(kafka, *topics, file, False, f"{name}-drafted", store, local_stack.s3.endpoint, 1000))
    drafted = here(load_pipeline(file), hand, Ports.free())
    assert drafted.join.window.ms <= 2 * hand.join.window.ms
    with learning(hand, tmp_path / "hand"), learning(drafted, tmp_path / "drafted"):
        rest = replay(log[FIRST:])
        for pipeline in (hand, drafted):
            with Reckoner(pipeline, open_store(pipeline.store)) as reckoner:
                counted = reckoner.settle(
                    impressions=first[0] + rest[0],
                    clicks=first[1] + rest[1],
                    clock=clock,
                    seconds=SETTLE_SECONDS,
                    alive=lambda: True,
                )
            assert counted.right, counted
    found = auc(hand), auc(drafted)
    record_property("auc_by_hand_and_drafted", found)
    assert found[1] > found[0] - WITHIN
