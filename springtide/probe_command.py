"""What `springtide probe` prints; knows results, not how they come about."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import orjson
import typer

from infra.clock import SystemClock
from infra.errors import Invalid
from infra.object_store import open_store
from infra.pipeline_file import load_pipeline
from springtide.probe import Prober, ProbeResult

DEMO_FILE = Path(".springtide/demo/pipeline.yaml")


def run_probes(path: Path | None, *, count: int, effect: bool, timeout: float, as_json: bool) -> None:
    """Sends ``count`` probes one after the other, prints a line each and, for several, p50, p99 and max.

    Raises:
        Invalid: There is no pipeline, or probes are switched off in it.
        Unavailable: A probe was not learned in time.
    """
    pipeline = load_pipeline(pipeline_path(path))
    results: list[ProbeResult] = []
    with Prober(pipeline, open_store(pipeline.store), SystemClock()) as prober:
        for result in prober.probes(count, timeout=timeout, effect=effect):
            results.append(result)
            if not as_json:
                typer.echo(line(result))
    if as_json:
        typer.echo(orjson.dumps([as_row(result) for result in results]).decode())
    elif count > 1:
        typer.echo(summary(results))


def line(result: ProbeResult) -> str:
    """One probe on one line: seconds since it was sent at each station."""
    stations = (
        ("joined", result.joined_ms),
        ("trained", result.trained_ms),
        ("committed", result.committed_ms),
        ("applied", max(result.applied_ms.values())),
    )
    way = " → ".join(f"{name} {(moment - result.sent_ms) / 1000:.2f}" for name, moment in stations)
    replicas = len(result.applied_ms)  # it is done when all of them have learned it
    scores = "   score {:.4f} → {:.4f}".format(*result.scores) if result.scores else ""
    return f"sent → {way} s   version {result.version:,}   replicas {replicas}/{replicas}{scores}"


def summary(results: Sequence[ProbeResult]) -> str:
    """p50, p99 and max of the whole way."""
    p50, p99, longest = quantiles([result.seconds for result in results])
    return f"{len(results)} probes   p50 {p50:.2f} s   p99 {p99:.2f} s   max {longest:.2f} s"


def quantiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """p50, p99 (the value that 99 % do not exceed, by nearest rank) and the maximum."""
    ordered = sorted(seconds)
    rank = -(-99 * len(ordered) // 100)
    return statistics.median(ordered), ordered[rank - 1], ordered[-1]


def as_row(result: ProbeResult) -> dict[str, object]:
    """The result as JSON would have it."""
    return {
        "probe_id": result.probe_id,
        "version": result.version,
        "sent_ms": result.sent_ms,
        "joined_ms": result.joined_ms,
        "trained_ms": result.trained_ms,
        "committed_ms": result.committed_ms,
        "applied_ms": dict(result.applied_ms),
        "seconds": result.seconds,
        "scores": result.scores,
    }


def pipeline_path(path: Path | None) -> Path:
    """The file that is named, or the one that lies here, or the running demo's.

    Raises:
        Invalid: There is none of them.
    """
    if path is not None:
        return path
    for candidate in (Path("pipeline.yaml"), DEMO_FILE):
        if candidate.is_file():
            return candidate
    raise Invalid(
        "no pipeline.yaml here, and no demo runs", cure="name the file, or start `springtide demo` in another terminal"
    )
