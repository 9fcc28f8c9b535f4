"""What `springtide doctor --acls` prints; must not use a network."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import orjson
import typer

from infra.pipeline_file import load_pipeline
from springtide.rights import kafka_rights, replica_policy, store_policy


def print_rights(path: Path, *, principal: str, as_json: bool) -> None:
    """Prints the commands that grant the rights on Kafka and the policies of the store, to be handed to who may.

    Raises:
        Invalid: The pipeline cannot be read.
    """
    pipeline = load_pipeline(path)
    rights, policy, reading = kafka_rights(pipeline), store_policy(pipeline), replica_policy(pipeline)
    if as_json:
        found = {"kafka": [each.as_row() for each in rights], "store": policy, "store_of_replicas": reading}
        typer.echo(orjson.dumps(found).decode())
        return
    typer.echo("# Kafka. Replicas want nothing of it.")
    for each in rights:
        typer.echo(f"{each.command(pipeline.kafka.bootstrap, principal)}  # {', '.join(each.roles)}")
    if policy is None or reading is None:
        typer.echo(f"# The store {pipeline.store.url} is no S3: whoever may write there may do all.")
        return
    typer.echo("# The store, for learner, compactor, page and commands, and Flink's checkpoints where they are in one.")
    typer.echo(orjson.dumps(policy, option=orjson.OPT_INDENT_2).decode())
    typer.echo("# The store, for replicas, where they have credentials of their own.")
    typer.echo(orjson.dumps(reading, option=orjson.OPT_INDENT_2).decode())
