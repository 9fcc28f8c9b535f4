"""What `springtide size` prints; knows estimates, not how they come about."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import orjson
import psutil  # type: ignore[import-untyped]
import typer

from infra.pipeline_file import load_pipeline
from infra.spec import Pipeline
from infra.units import Duration
from springtide.sizing.estimate import Estimate, Load, carried, estimate
from streaming.delays import span
from streaming.sql import state_kept

MIB = 1 << 20
GIB = 1 << 30
# More than a worker of the join has by default.
MUCH_REMEMBERED_MIB = 512
UNITS = ((GIB, "GiB"), (MIB, "MiB"), (1 << 10, "KiB"))


def run_size(path: Path, load: Load, slo: Duration | None, *, as_json: bool) -> int:
    """Prints what the pipeline wants; returns 1 where the objective cannot be held as it is set, else 0.

    Raises:
        Invalid: The pipeline cannot be read.
    """
    pipeline = load_pipeline(path)
    objective = slo or pipeline.slo.behind
    found = estimate(pipeline, load, objective.seconds)
    holds = found.behind_s[1] <= objective.seconds and found.samples <= found.learner_samples
    if as_json:
        row = asdict(found) | {"cores": found.cores, "mebibytes": found.mebibytes, "holds": holds}
        row["carried_here"] = carried(pipeline, float(psutil.cpu_count()), load.replicas)
        typer.echo(orjson.dumps(row).decode())
    else:
        for line in lines(pipeline, load, objective, found):
            typer.echo(line)
    return 0 if holds else 1


def lines(pipeline: Pipeline, load: Load, slo: Duration, found: Estimate) -> Iterator[str]:
    """The table, and who carries what beyond one machine."""
    yield f"{load.events:,.0f} events/s, {load.keys:,} keys, {load.replicas} replicas, p99 within {slo}"
    for each in found.needs:
        times = f" × {each.count}" if each.count != 1 else ""
        yield f"  {each.role + times:<14} {each.cores:>8.2f} cores  {amount(each.mebibytes * MIB):>10}"
    yield f"  {'together':<14} {found.cores:>8.2f} cores  {amount(found.mebibytes * MIB):>10}"
    yield f"store    {found.puts * 3600:,.0f} objects and {amount(found.put_bytes * 3600)} an hour"
    yield f"         about {amount(found.kept_bytes)} kept by `springtide gc` as it is set by default"
    for way, rate in found.network.items():
        yield f"network  {amount(rate)}/s  {way}"
    p50, p99 = found.behind_s
    yield f"behind   p50 {p50:.1f} s, p99 {p99:.1f} s with a version every {pipeline.learner.commit_interval}"
    if p99 > slo.seconds and found.longest_commit_s > 0:
        shorter = span(round(found.longest_commit_s, 1))
        yield f"         MORE than {slo}. Cure: learner.commit_interval {shorter} or less"
    elif p99 > slo.seconds:
        yield f"         MORE than {slo}, and no commit interval is short enough. Cure: a longer `slo.behind`"
    yield from _beyond(pipeline, load, found)


def amount(size: float) -> str:
    """Bytes in the unit that leaves few digits."""
    for unit, name in UNITS:
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size:,.0f} B"


def _beyond(pipeline: Pipeline, load: Load, found: Estimate) -> Iterator[str]:
    here, machine = carried(pipeline, float(psutil.cpu_count()), load.replicas), f"{psutil.cpu_count()} cores"
    yield f"one machine of {machine}, as this one, carries about {here:,.0f} events/s with every role on it"
    yield "beyond it"
    if found.parallelism > pipeline.flink.parallelism:
        yield (
            f"  the join: flink.parallelism {found.parallelism} (now {pipeline.flink.parallelism}), with as many "
            "partitions of each topic; Flink spreads it over machines"
        )
    else:
        yield f"  the join: flink.parallelism {pipeline.flink.parallelism} will do; Flink spreads more over machines"
    if found.remembered_mebibytes > MUCH_REMEMBERED_MIB:
        kept, repeats = state_kept(pipeline), pipeline.join.repeat_window
        why = (
            f"join.repeat_window ({repeats})"
            if kept.ms == repeats.ms
            else f"twice the join's windows ({span(kept.seconds)})"
        )
        yield (
            f"  its heap: {amount(found.remembered_mebibytes * MIB)} for keys that are remembered, for {why}: shorter "
            "takes less, and `state.backend.type: rocksdb` puts all state on disk, for several times the processor time"
        )
    if found.samples > found.learner_samples:
        share = found.learner_samples / found.samples
        yield (
            f"  the learner: ONE process carries about {found.learner_samples:,.0f} of {found.samples:,.0f} samples/s. "
            f"Cure: join.keep_negatives {share:.2g} or less, fewer ids, or several models"
        )
    else:
        yield f"  the learner: one process, which carries about {found.learner_samples:,.0f} samples/s of this shape"
    yield "  replicas: as many as wanted, on machines of their own; each holds every row, and asks the store alone"
    yield "  Kafka and the store: theirs; brokers by partitions, a bucket by prefix"
