"""One replica as a process of its own: `python -m tests.serving.replica_process PIPELINE.json NAME PORT`."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from infra.clock import SystemClock
from infra.logs import configure
from infra.object_store import open_store
from infra.spec import Pipeline
from serving.run import run_replica
from springtide.lifecycle import run, stop_on_signals
from springtide.wiring import build_encoder, build_tables


def main(file: str, name: str, port: str) -> None:
    """As `springtide serve` does it."""
    pipeline = Pipeline.model_validate_json(Path(file).read_bytes())
    configure("serving", pipeline.name, form="json")
    encoder = build_encoder(pipeline)
    run_replica(
        pipeline,
        name=name,
        encoder=encoder,
        tables_factory=lambda: build_tables(pipeline, encoder, max_batch=64, trainable=False),
        store=open_store(pipeline.store),
        clock=SystemClock(),
        host="127.0.0.1",
        port=int(port),
        stop=stop_on_signals(),
    )


if __name__ == "__main__":
    import typer

    typer.run(lambda file, name, port: run(lambda: main(file, name, port)))
