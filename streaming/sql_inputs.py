"""Numbers impressions and feedback by key, so that repeats are told apart, not dropped; must not know the join."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from streaming.sql_sources import Source
from streaming.sql_text import create_view, identifier, neighbours

_BY_KEY = "OVER (PARTITION BY `#key` ORDER BY `#arrival`)"
_PLACE = ("#partition", "#offset", "#body")


def impressions_view(source: Source) -> str:
    """The name of the view of numbered impressions."""
    return f"{source.name} numbered"


def feedback_view(source: Source) -> str:
    """The name of the view of feedback that knows what came before it."""
    return f"{source.name} in order"


def number_impressions(source: Source) -> list[str]:
    """Views for the impressions: `#number` is 1 for the first copy of each key, `#watermark` how far event time was."""
    columns = ", ".join(map(identifier, ("#key", "#ts", "#received", *_PLACE, *source.columns)))
    counted = f"{source.name} counted"
    return [
        create_view(counted, f"SELECT {columns}, COUNT(*) {_BY_KEY} AS `#number` FROM {identifier(source.name)}"),
        create_view(impressions_view(source), _with_watermark(counted, "`#number` >= 1")),
    ]


def order_feedback(source: Source) -> list[str]:
    """Views for one kind of feedback: what came before it for the same key, and how far event time was.

    `#time` is its event time as a plain time, which no join takes for a bound. `#below` and `#above` are the event
    times nearest to it of those that came before it; where its own did, that is `#below`.
    """
    counted = f"{source.name} counted"
    plain = ", ".join(map(identifier, ("#key", "#ts", "#received", *_PLACE)))
    columns = f"{plain}, `#time`"
    timed = f"SELECT {plain}, `#arrival`, CAST(`#ts` AS TIMESTAMP_LTZ(3)) AS `#time` FROM {identifier(source.name)}"
    before = f"{neighbours('`#time`', _BY_KEY)} AS `#others`"
    ordered = f"SELECT {columns}, `#watermark`, `#others`.`below` AS `#below`, `#others`.`above` AS `#above`"
    return [
        create_view(counted, f"SELECT {columns}, {before} FROM ({timed})"),
        create_view(feedback_view(source), f"{ordered} FROM ({_with_watermark(counted, '`#others` IS NOT NULL')})"),
    ]


def _with_watermark(view: str, always: str) -> str:
    """Asks for the watermark behind the numbering, where it is that of the topic and its heartbeats together.

    In front of it each topic is asked alone: where heartbeats have closed a window, an event that comes then would
    count as in time, and its verdict and its correction would each be left to the other. The planner merges two
    projections and moves the question there, unless a condition on what was counted stands between them.

    Args:
        view: The numbered rows.
        always: What holds of every one of them, by the numbering's own columns.
    """
    return f"SELECT *, CURRENT_WATERMARK(`#ts`) AS `#watermark` FROM {identifier(view)} WHERE {always}"
