"""What fresh labels are worth on MIND, learned at once, late or never; run by `make bench-freshness-value`."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, report
from benchmarks.freshness_plot import Series, write_plot
from benchmarks.mind_stream import WINDOW_MS, MindStream
from benchmarks.mind_training import LateLabels, mind_pipeline
from benchmarks.ranking import Difference, Scored, auc_difference, auc_error, within_difference, within_mean
from springtide.datasets.mind import Mind

MINUTE_MS = 60_000
DELAYS = {"at once": 0, "10 min": 10 * MINUTE_MS, "1 h": 60 * MINUTE_MS, "6 h": 360 * MINUTE_MS}
LIVE, FROZEN = "at once", "never"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "mind"
PLOT = Path("docs/freshness-value.svg")


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=Path, default=DATA, help="folder with MIND's behaviors.tsv")
    files = parser.parse_args().files
    console = Console()
    if not (files / "behaviors.tsv").is_file():
        console.print(
            f"Skipped: no MIND log at {files}/behaviors.tsv. Get MIND-small from its publisher, then --files."
        )
        return 0
    dataset = Mind.load(files)
    stream, pipeline = MindStream(dataset), mind_pipeline(dataset)
    model: dict[str, Scored] = {}
    counting: dict[str, Scored] = {}
    for name, delay_ms, until_ms in [*((n, d, None) for n, d in DELAYS.items()), (FROZEN, 0, stream.cut_ms)]:
        model[name] = scored(stream, LateLabels(stream, pipeline, delay_ms, until_ms).scores())
        counting[name] = scored(stream, stream.counted(delay_ms, until_ms))
        console.print(f"labels {name}: AUC {model[name].auc():.4f}, counting {counting[name].auc():.4f}")
    rows = [(name, quality(model[name]), quality(counting[name])) for name in model]
    console.print(table(rows))
    write_plot(
        PLOT,
        [
            Series("model", [(name, of_model[0].value, of_model[0].error) for name, of_model, _ in rows]),
            Series("counting", [(name, of_counts[0].value, of_counts[0].error) for name, _, of_counts in rows]),
        ],
    )
    return report("freshness-value", figures(model, counting))


def scored(stream: MindStream, scores: list[float]) -> Scored:
    """The scored rows with their clicks and pages."""
    pages = stream.pages[stream.scored :]
    numbers = np.repeat(np.arange(len(pages)), [page.end - page.begin for page in pages])
    clicked = [event.click_after is not None for event in stream.rows[pages[0].begin :]]
    return Scored(np.array(scores, np.float64), np.array(clicked, np.bool_), numbers.astype(np.int64))


def quality(rows: Scored) -> tuple[Difference, Difference]:
    """AUC over all and within a page, with standard errors."""
    return Difference(rows.auc(), auc_error(rows)), within_mean(rows)


def table(rows: list[tuple[str, tuple[Difference, Difference], tuple[Difference, Difference]]]) -> Table:
    """What stands in the README."""
    shown = Table(title="MIND, the last fifth")
    for column in ("labels reach the model", "AUC", "within a page", "counting AUC", "counting within"):
        shown.add_column(column)
    for name, of_model, of_counts in rows:
        shown.add_row(name, *(f"{each.value:.3f} ± {each.error:.3f}" for each in (*of_model, *of_counts)))
    return shown


def figures(model: dict[str, Scored], counting: dict[str, Scored]) -> list[Figure]:
    """The benchmark's figures: live against counting and against frozen."""
    rows, pages = len(model[LIVE].scores), int(model[LIVE].pages.max()) + 1
    load = f"{rows} rows of {pages} pages, labels {WINDOW_MS // 1000} s after the showing, click delays drawn"
    found = []
    for name, other, target in (("counting", counting[LIVE], -0.01), ("frozen", model[FROZEN], 0.05)):
        for where, difference in (
            ("", auc_difference(model[LIVE], other)),
            ("_within", within_difference(model[LIVE], other)),
        ):
            against = f"standard error {difference.error:.4f}; {load}"
            found.append(Figure(f"mind_auc{where}_live_minus_{name}", difference.value, "1", target, ">=", against))
    return found


if __name__ == "__main__":
    sys.exit(main())
