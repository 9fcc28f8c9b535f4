"""Gives a log a steady pace: its order stays, its idle times and bursts do not; knows no topic."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from springtide.datasets.event import Event


def steady(log: Iterable[Event], per_second: float) -> Iterator[Event]:
    """The log's events ``1 / per_second`` seconds apart, the first at 0.

    Why not the log's own times, scaled: squeezed from months into minutes, a person's evening of twenty minutes would
    pass within milliseconds, and nothing that was learned from its first click could serve its second.

    Args:
        log: Events in time order.
        per_second: Impressions a second.
    """
    for number, event in enumerate(log):
        yield replace(event, time_ms=round(number * 1000 / per_second))
