"""What `springtide replay` does and prints: rebuilds a version from its samples and says whether it is the same."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import orjson
import typer
from rich.console import Console

from infra.clock import SystemClock
from infra.errors import Invalid
from infra.kafka import PartitionReader
from infra.logs import configure
from infra.object_store import open_store
from infra.pipeline_file import load_pipeline
from springtide.processes import find_own_model
from streaming import topics

# A state that is another one differs everywhere; the first lines tell as much as all.
_SHOWN = 20


def run_replay(path: Path, first: int, last: int | None, *, as_json: bool) -> int:
    """Rebuilds ``last`` from ``first`` and compares; returns 0 if both are the same bit for bit, else 1.

    Args:
        path: The pipeline.yaml.
        first: Where to begin; 0 for the state before the first sample.
        last: Which version to rebuild; None for the newest.
        as_json: Print JSON instead of words.
    """
    from checkpointing.history import newest_version
    from learner.assembly import build_trainer
    from learner.rebuild import rebuild
    from learner.trainer import Trainer
    from springtide.wiring import build_encoder, build_tables

    pipeline = load_pipeline(path)
    configure("learner", pipeline.name)
    find_own_model(pipeline, path)
    store = open_store(pipeline.store)
    target = newest_version(store) if last is None else last
    if target is None:
        raise Invalid("the store holds no version", cure="start a learner first", where=store.url)

    def make_trainer() -> Trainer:
        encoder = build_encoder(pipeline)
        tables = build_tables(pipeline, encoder, max_batch=pipeline.learner.max_batch, trainable=True)
        return build_trainer(pipeline, encoder, tables)

    clock = SystemClock()
    group = f"springtide.{pipeline.name}.replay"
    with (
        Console(stderr=True).status(f"version {first} of {target}") as status,
        PartitionReader(pipeline.kafka, topics.samples_of(pipeline), group=group) as reader,
    ):
        outcome = rebuild(
            pipeline,
            make_trainer,
            store,
            reader,
            clock,
            first=first,
            last=target,
            progress=lambda version: status.update(f"version {version} of {target}"),
        )
    same = not outcome.differences
    if as_json:
        document = {"from": first, "to": target, "same": same, **asdict(outcome)}
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        return int(not same)
    typer.echo(
        f"trained {outcome.samples} samples in {outcome.batches} batches of {outcome.versions} versions,"
        f" from version {first} to version {target}"
    )
    for line in outcome.environment:
        typer.echo(f"environment  {line}")
    if same:
        typer.echo(
            f"version {target} is the same bit for bit: {outcome.rows} rows, {outcome.arrays} arrays, all metrics"
        )
        return 0
    typer.echo(f"version {target} differs in {len(outcome.differences)} places:")
    for line in outcome.differences[:_SHOWN]:
        typer.echo(f"  {line}")
    if len(outcome.differences) > _SHOWN:
        typer.echo(f"  and {len(outcome.differences) - _SHOWN} more")
    return 1
