"""What `springtide join --print-topics` prints; must not use a network."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import typer

from infra.pipeline_file import load_pipeline
from streaming.topics import creation_commands


def print_creation(path: Path) -> None:
    """Prints one command a topic; rights to create topics are wanted by whoever runs them, no longer by Springtide.

    Raises:
        Invalid: The pipeline cannot be read.
    """
    for command in creation_commands(load_pipeline(path)):
        typer.echo(command)
