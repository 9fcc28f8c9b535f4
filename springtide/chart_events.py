"""Sends made-up impressions and clicks for the chart's development servers, whose topics and bucket it makes first.

``python -m springtide.chart_events pipeline.yaml --per-second 20`` goes on until it is told to end. What people like is
fixed, so that a model can learn it: each of them clicks most on the items of one category.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import itertools
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import typer

from infra.backoff import Stopped, retry
from infra.clock import Clock, SystemClock, new_uuid
from infra.errors import Invalid
from infra.kafka import KafkaAdmin, Producer, TopicSettings
from infra.logs import configure, logger
from infra.object_store import provision_bucket
from infra.pipeline_file import load_pipeline
from infra.secrets import read_secret
from infra.spec import EventField, Pipeline
from springtide.datasets.event import Event
from springtide.datasets.replay import Replay
from springtide.lifecycle import run, stop_on_signals

PEOPLE: Final = 500
ITEMS: Final = 200
KINDS: Final = 5
# Out of 100 impressions, of the kind that a person likes and of another.
LIKED, OTHERS = 60, 12
# Spread numbers over a range without chance, so that every run sends the same likings.
PEOPLE_STEP: Final = 193
ITEM_STEP: Final = 67
ROLL_STEP: Final = 37

_log = logger()


def made_up(fields: tuple[EventField, ...], per_second: float, prefix: str) -> Iterator[Event]:
    """Impressions without an end, ``1 / per_second`` seconds apart.

    Args:
        fields: What an impression says. Types other than text and numbers are left out.
        per_second: How many a second.
        prefix: What the join keys begin with, so that those of two runs differ.
    """
    for number in itertools.count():
        person = number * PEOPLE_STEP % PEOPLE
        item = (number * ITEM_STEP + number // ITEMS) % ITEMS
        liked = person % KINDS == item % KINDS
        clicked = (number * ROLL_STEP + number // 100) % 100 < (LIKED if liked else OTHERS)
        values = {field.name: _value(field, person, item) for field in fields}
        told = {name: value for name, value in values.items() if value is not None}
        yield Event(round(number * 1000 / per_second), f"{prefix}-{number}", told, 0.2 if clicked else None)


def _value(field: EventField, person: int, item: int) -> object:
    """A person's field is told by its name; every other is the item's."""
    number = person if "user" in field.name or "person" in field.name else item
    if field.type == "string":
        return f"{field.name}-{number % KINDS if 'categor' in field.name else number}"
    if field.type == "integer":
        return number
    return 1.0 + number % 40 if field.type == "number" else None


def prepare(pipeline: Pipeline) -> None:
    """Makes the topics of impressions and feedback, and the store's bucket, where they are not there.

    Raises:
        Unavailable: A server does not answer yet.
        Invalid: The store is none with an endpoint and keys of its own.
    """
    store = pipeline.store
    if store.endpoint is None or store.access_key is None or store.secret_key is None:
        raise Invalid("`store` has no endpoint and keys", cure="take the chart's examples/quickstart.yaml")
    bucket = store.url.removeprefix("s3://").partition("/")[0]
    provision_bucket(store.endpoint, read_secret(store.access_key), read_secret(store.secret_key), bucket, store.region)
    events = pipeline.events
    topics = [events.impressions.topic, *(feedback.topic for feedback in events.feedback)]
    KafkaAdmin(pipeline.kafka).ensure_topics([TopicSettings(name, 1) for name in topics])


def send(pipeline: Pipeline, *, per_second: float, clock: Clock, stop: threading.Event) -> None:
    """Sends until ``stop``; what the broker's absence loses is lost, as with any traffic."""
    retry(lambda: prepare(pipeline), "prepare the development servers", clock=clock, stop=stop)
    _log.info("events_begin", per_second=per_second)
    replay = Replay(pipeline.events, pipeline.join.window.ms, Producer(pipeline.kafka), clock)
    log = made_up(pipeline.events.impressions.fields, per_second, new_uuid()[:8])
    sent = replay.run(log, speed=1.0, stop=stop)
    _log.info("events_end", impressions=sent.impressions, clicks=sent.clicks)


def main() -> None:
    """Reads the command line and sends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("--per-second", type=float, default=20.0)
    asked = parser.parse_args()

    def command() -> None:
        pipeline = load_pipeline(asked.pipeline)
        configure("events", pipeline.name)
        stop = stop_on_signals()
        try:
            send(pipeline, per_second=asked.per_second, clock=SystemClock(), stop=stop)
        except Stopped:
            return

    try:
        run(command)
    except typer.Exit as ending:
        sys.exit(ending.exit_code)


if __name__ == "__main__":
    main()
