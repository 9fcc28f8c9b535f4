"""One replica as a process of its own: `python -m tests.serving.replica_process PIPELINE.json NAME PORT AHEAD_S`."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from functools import partial
from pathlib import Path

from infra.logs import configure
from infra.object_store import open_store
from infra.spec import Pipeline
from serving.parts import Parts
from serving.run import run_replica
from springtide.lifecycle import run, stop_on_signals
from springtide.wiring import build_encoder, build_tables
from tests.serving.skewed_clock import SkewedClock


def make_parts(pipeline: Pipeline, name: str, ahead_s: float = 0) -> Parts:
    """As `springtide serve` makes them, for smaller requests."""
    return Parts(
        pipeline,
        name,
        encoder=partial(build_encoder, pipeline),
        tables=partial(build_tables, pipeline, max_batch=64, trainable=False),
        store=partial(open_store, pipeline.store),
        clock=SkewedClock(ahead_s),
    )


def main(file: str, name: str, port: str, ahead_s: str) -> None:
    """As `springtide serve` does it."""
    pipeline = Pipeline.model_validate_json(Path(file).read_bytes())
    configure("serving", pipeline.name, form="json")
    run_replica(make_parts(pipeline, name, float(ahead_s)), "127.0.0.1", int(port), stop_on_signals())


if __name__ == "__main__":
    import typer

    typer.run(lambda file, name, port, ahead_s: run(lambda: main(file, name, port, ahead_s)))
