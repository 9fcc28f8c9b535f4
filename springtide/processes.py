"""Starts one role of the platform from a pipeline.yaml: learner, replica or page; knows how each is built."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from infra.clock import SystemClock
from infra.errors import Invalid
from infra.logs import configure
from infra.object_store import open_store
from infra.pipeline_file import load_pipeline
from infra.spec import Pipeline
from infra.spec_model import is_own
from springtide import beforehand


def find_own_model(pipeline: Pipeline, path: Path) -> None:
    """Lets a model of the user's own be imported from the folder of the pipeline.yaml."""
    if is_own(pipeline.model.name):
        # Last, so that it hides nothing of the platform's.
        sys.path.append(str(path.resolve().parent))


def moment(text: str) -> int:
    """A moment from the command line, in ms since 1970: such a number, or ISO-8601, UTC where it names no zone.

    Raises:
        Invalid: It is neither.
    """
    if text.isdecimal():
        return int(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        wanted = "ms since 1970, or a time such as 2026-11-27T06:00:00Z"
        raise Invalid(f"--from-timestamp: got `{text}`", wanted=wanted) from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def learn(
    path: Path,
    *,
    identity: str,
    takeover: bool,
    stop: threading.Event,
    from_timestamp: str | None = None,
    warm_start: Path | None = None,
    accept_gap: bool = False,
) -> None:
    """Runs the learner until ``stop`` is set; ``identity`` defaults to the host's name.

    Args:
        path: The pipeline.yaml.
        identity: Who this learner is.
        takeover: Whether to take over at once.
        stop: Ends it.
        from_timestamp: Where a model without versions begins to read, ISO-8601 or ms since 1970.
        warm_start: The pipeline.yaml of the model that it begins with.
        accept_gap: Whether to go on without the samples that Kafka has lost.
    """
    pipeline = load_pipeline(path)
    other = None if warm_start is None else load_pipeline(warm_start)
    from_ms = None if from_timestamp is None else moment(from_timestamp)
    configure("learner", pipeline.name)
    find_own_model(pipeline, path)
    clock, store = SystemClock(), open_store(pipeline.store)
    beforehand.require(store, pipeline.learner.host, pipeline.learner.port, clock, pipeline.kafka)
    from learner.run import Beginning, run_learner
    from learner.warm_start import WarmStart
    from springtide.wiring import build_encoder, build_tables

    encoder = build_encoder(pipeline)
    tables = build_tables(pipeline, encoder, max_batch=pipeline.learner.max_batch, trainable=True)
    run_learner(
        pipeline,
        encoder=encoder,
        tables=tables,
        store=store,
        clock=clock,
        stop=stop,
        identity=identity or socket.gethostname(),
        takeover=takeover,
        beginning=Beginning(
            from_ms, None if other is None else WarmStart(open_store(other.store), other.name), accept_gap
        ),
    )


def serve(path: Path, *, name: str, port: int | None, stop: threading.Event) -> None:
    """Runs one replica until ``stop`` is set."""
    pipeline = load_pipeline(path)
    configure("serving", pipeline.name)
    store = open_store(pipeline.store)
    port = pipeline.serving.port if port is None else port
    beforehand.require(store, pipeline.serving.host, port, SystemClock())
    from serving.parts import Parts
    from serving.run import run_replica
    from springtide.wiring import build_encoder, build_tables

    parts = Parts(
        pipeline,
        name,
        encoder=partial(build_encoder, pipeline),
        tables=partial(build_tables, pipeline, max_batch=pipeline.serving.max_candidates, trainable=False),
        store=partial(open_store, pipeline.store),
        clock=SystemClock(),
    )
    run_replica(parts, pipeline.serving.host, port, stop)


def dashboard(paths: Sequence[Path], *, port: int | None, stop: threading.Event) -> None:
    """Runs the page's server until ``stop`` is set; where it listens stands in the first of the files."""
    pipelines = [load_pipeline(path) for path in paths]
    first = pipelines[0]
    configure("dashboard", first.name)
    from dashboard.run import run_dashboard

    run_dashboard(
        [(pipeline, open_store(pipeline.store)) for pipeline in pipelines],
        clock=SystemClock(),
        host=first.dashboard.host,
        port=first.dashboard.port if port is None else port,
        stop=stop,
    )
