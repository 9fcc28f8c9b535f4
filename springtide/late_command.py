"""What `springtide late` prints; knows rows, not why the join could not use them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
from pathlib import Path

import orjson
import typer

from infra.clock import SystemClock, iso
from infra.local.jars import flink_kafka_connector
from infra.pipeline_file import load_pipeline
from infra.units import Duration
from streaming.late_rows import Unused, counts, original, replay, unused, wanted
from streaming.planner import Planner

WIDEST = 100


def list_late(path: Path, *, since: Duration | None, reason: str | None, limit: int, as_json: bool) -> None:
    """Prints how many events became no sample and why, and the newest of them with their bytes.

    Raises:
        Unavailable: No broker answers, or the join has not made its topics yet.
    """
    pipeline = load_pipeline(path)
    since_ms = SystemClock().now_ms() - since.ms if since is not None else 0
    rows = [row for row in unused(pipeline, since_ms=since_ms) if reason is None or row.reason == reason]
    newest = sorted(rows, key=lambda row: row.told_ms)[-limit:] if limit else []
    shown = [(row, original(pipeline, row)) for row in newest]
    if as_json:
        for row, body in shown:
            typer.echo(orjson.dumps(_as_row(row, body)).decode())
        return
    if not rows:
        typer.echo("every event became a sample")
        return
    for (why, topic, kind), count in sorted(counts(rows).items()):
        typer.echo(f"{count:>10,}  {why:<16}  {topic}{f'  for {kind}' if kind else ''}")
    typer.echo("")
    for row, body in shown:
        text = "(its topic keeps it no longer, or it is empty)" if body is None else body.decode(errors="replace")
        place = f"{row.topic}[{row.partition}]@{row.offset}"
        typer.echo(f"{iso(row.told_ms)}  {row.reason:<16}  {place}  {text[:WIDEST]}")


def replay_late(path: Path, *, since: Duration | None, dry_run: bool, as_json: bool) -> None:
    """Joins again what was late and can be joined now, and says how many samples of which kind came of it.

    Raises:
        Unavailable: Kafka or Flink do not answer.
    """
    clock = SystemClock()
    pipeline = load_pipeline(path)
    since_ms = clock.now_ms() - since.ms if since is not None else 0
    jobs = wanted(pipeline, unused(pipeline, since_ms=since_ms))
    rows = {name: {"keys": len(each.keys), "without_verdict": len(each.without_verdict)} for name, each in jobs.items()}
    if not as_json:
        for name, row in sorted(rows.items()):
            typer.echo(f"{name}: {row['keys']:,} keys, {row['without_verdict']:,} of them without a verdict")
        if not jobs:
            typer.echo("nothing was late that is not answered by now")
    if jobs and not dry_run:
        with Planner(flink_kafka_connector(), clock=clock) as planner:
            replay(pipeline, jobs, planner, clock=clock)
        left = wanted(pipeline, unused(pipeline, since_ms=since_ms))
        for name, row in sorted(rows.items()):
            rest = left.get(name)
            stay = len(rest.keys) if rest else 0
            verdicts = row["without_verdict"] - (len(rest.without_verdict) if rest else 0)
            row |= {"positive": row["keys"] - stay, "verdicts": verdicts, "late": stay}
            if not as_json:
                typer.echo(
                    f"{name}: {row['positive']:,} became positive, {verdicts:,} have a verdict now, {stay:,} stay late"
                )
    if as_json:
        typer.echo(orjson.dumps([{"feedback": name} | row for name, row in sorted(rows.items())]).decode())


def _as_row(row: Unused, body: bytes | None) -> dict[str, object]:
    return {
        "reason": row.reason,
        "feedback": row.feedback,
        "key": row.key,
        "topic": row.topic,
        "partition": row.partition,
        "offset": row.offset,
        "told_ts": iso(row.told_ms),
        "body": base64.b64encode(body).decode() if body is not None else None,
    }
