"""One measured figure, its target and whether it holds; prints the table and writes the JSON; measures nothing."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import orjson
from rich.console import Console
from rich.table import Table

OUTPUT = Path("build/bench")


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured figure.

    Attributes:
        figure: Its name, as the target names it.
        value: What was measured.
        unit: Unit of the value.
        target: The bound, or None where the figure is only reported.
        sense: Whether the value must be at most or at least the target.
        against: What it was measured against, and under which load.
    """

    figure: str
    value: float
    unit: str
    target: float | None
    sense: Literal["<=", ">="]
    against: str

    @property
    def holds(self) -> bool | None:
        """Whether the target holds; None without a target."""
        if self.target is None:
            return None
        return self.value <= self.target if self.sense == "<=" else self.value >= self.target


def report(name: str, figures: Sequence[Figure]) -> int:
    """Prints the table and writes ``build/bench/NAME.json``; returns 0 if every target holds, else 1."""
    table = Table(title=name)
    for column in ("figure", "value", "target", "holds", "against"):
        table.add_column(column)
    rows = []
    for figure in figures:
        target = "-" if figure.target is None else f"{figure.sense} {figure.target:g}"
        holds = {True: "yes", False: "NO", None: "-"}[figure.holds]
        table.add_row(figure.figure, f"{figure.value:.4g} {figure.unit}", target, holds, figure.against)
        rows.append({**asdict(figure), "holds": figure.holds})
    Console().print(table)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / f"{name}.json").write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2))
    return int(any(figure.holds is False for figure in figures))
