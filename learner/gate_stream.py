"""What the gate asks of the stream itself: how often labels are 1, and whether columns are there; knows no weights."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from infra import spec
from learner import checks
from learner.gate_memory import Memory


@dataclass(frozen=True)
class Stream:
    """What the gate must know of the samples' making.

    Args:
        labels: The label columns.
        columns: The features' columns.
        bucket_ms: Width of a bucket of event time.
        window_ms: How long feedback of the first kind is waited for.
        ahead_ms: How far feedback may be ahead of verdicts in event time, where the join catches up.
        mode: When a label becomes a sample.
    """

    labels: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    bucket_ms: int = 10_000
    window_ms: int = 600_000
    ahead_ms: int = 3_600_000
    mode: Literal["after_window", "aligned", "immediate"] = "after_window"


def label_rates(settings: spec.Gate, stream: Stream, memory: Memory) -> Iterator[str]:
    """Reasons for which the labels of what came since the last servable version are not believed."""
    factor = settings.label_rate
    if factor is None:
        return
    found = []
    if stream.labels:
        samples, positives = memory.closed_since(stream.bucket_ms, stream.window_ms, stream.ahead_ms)
        pair = (float(samples), float(positives)), (float(memory.closed[0]), float(memory.closed[1]))
        found.append(checks.label_rate(f"{stream.labels[0]}, closed buckets,", *pair, factor))
    # Verdicts alone: how much feedback comes beside them tells of traffic, too. Where all labels wait for the
    # window, verdicts are all there is; elsewhere clicks that are lost are missing among what is no verdict.
    # There a few clicks may come in a clump without the verdicts around them: only what breaks by orders is told.
    aligned, normal = stream.mode == "aligned", memory.normal
    bound = factor if aligned else factor * factor
    for recent in memory.recent():
        for place, label in enumerate(stream.labels):
            now = float(recent.known[place]), float(recent.positives[place])
            before = float(normal.known[place]), float(normal.positives[place])
            found.append(checks.label_rate(label, now, before, bound, falls=aligned))
    yield from dict.fromkeys(filter(None, found))


def coverage(settings: spec.Gate, stream: Stream, memory: Memory) -> Iterator[str]:
    """Reasons for which its features are not."""
    least, normal = settings.coverage, memory.normal
    if least is None:
        return
    for place, column in enumerate(stream.columns):
        before = normal.samples, float(normal.present[place])
        now = [(recent.samples, float(recent.present[place])) for recent in memory.recent()]
        found = [reason for each in now if (reason := checks.coverage(column, each, before, least))]
        yield from found[:1]
