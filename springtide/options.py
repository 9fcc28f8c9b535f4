"""The options that several commands share; knows no command."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Output(StrEnum):
    """How a table is printed."""

    text = "text"
    json = "json"


PipelineFile = Annotated[Path, typer.Argument(help="The pipeline.yaml.", show_default=True)]
OutputOption = Annotated[Output, typer.Option("-o", "--output", help="Form of the table.")]
DEFAULT_FILE = Path("pipeline.yaml")
