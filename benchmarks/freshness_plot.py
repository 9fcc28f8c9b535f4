"""Draws what a label's delay costs as an SVG file; knows numbers and names, not where they come from."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 40, 56
# Readable on a light and on a dark page alike.
COLOURS = ("#2b7de9", "#c2702b")
INK = "#808080"


@dataclass(frozen=True)
class Series:
    """A line: its name and, per delay, the value and its standard error."""

    name: str
    points: Sequence[tuple[str, float, float]]


def write_plot(path: Path, series: Sequence[Series]) -> None:
    """Writes the plot of AUC over the delay of labels."""
    values = [bound for line in series for _, value, error in line.points for bound in (value - error, value + error)]
    low, high = math.floor(min(values) * 50) / 50, math.ceil(max(values) * 50) / 50
    names = [name for name, _, _ in series[0].points]
    step = (WIDTH - LEFT - RIGHT) / len(names)
    across = {name: LEFT + step * (place + 0.5) for place, name in enumerate(names)}

    def up(value: float) -> float:
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="13" fill="{INK}">',
        "<title>AUC on the last fifth of MIND by how late labels reach the model</title>",
    ]
    for tick in range(round((high - low) * 50) + 1):
        value = low + tick / 50
        parts.append(
            f'<path d="M{LEFT} {up(value):.1f}H{WIDTH - RIGHT}" stroke="{INK}" stroke-opacity="0.3"/>'
            f'<text x="{LEFT - 8}" y="{up(value) + 4:.1f}" text-anchor="end">{value:.2f}</text>'
        )
    for name, x in across.items():
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{name}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.1f}" y="{HEIGHT - 10}" text-anchor="middle">labels reach the model</text>')
    parts.append(f'<text x="{LEFT - 8}" y="{TOP - 20}" text-anchor="end">AUC</text>')
    for place, (line, colour) in enumerate(zip(series, COLOURS, strict=True)):
        shift = 4 * (2 * place - 1)
        path_data = " ".join(
            f"{'M' if not number else 'L'}{across[name] + shift:.1f} {up(value):.1f}"
            for number, (name, value, _) in enumerate(line.points)
        )
        parts.append(f'<path d="{path_data}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for name, value, error in line.points:
            x = across[name] + shift
            parts.append(
                f'<path d="M{x:.1f} {up(value - error):.1f}V{up(value + error):.1f}" stroke="{colour}"/>'
                f'<circle cx="{x:.1f}" cy="{up(value):.1f}" r="4" fill="{colour}"/>'
            )
        parts.append(f'<text x="{WIDTH - RIGHT - 90 * (2 - place)}" y="{TOP - 20}" fill="{colour}">{line.name}</text>')
    path.write_text("\n".join([*parts, "</svg>"]) + "\n", encoding="utf-8")
