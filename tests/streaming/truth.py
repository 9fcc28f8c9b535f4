"""The truth table: every way in which an impression and its feedback can meet; knows no label mode's own words."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass
from typing import Any

import orjson

from tests.streaming.events import Stream

WINDOW, CORRECTION, SKEW = 5, 15, 1
JOIN = {
    "window": f"{WINDOW}s",
    "correction_window": f"{CORRECTION}s",
    "skew": f"{SKEW}s",
    "out_of_orderness": "1s",
    "idle_timeout": "1s",
}
# Event time, in seconds after the base, when the events of each phase arrive.
PHASES = (None, 3.0, 9.0, 12.0)
AGE_MS = 3_600_000
FUTURE_S = 2 * AGE_MS / 1000


@dataclass(frozen=True)
class Feedback:
    """When clicks happen and arrive, and what becomes of them.

    Args:
        clicks: Pairs of the phase of arrival and the event time.
        on_time: Outcomes with an impression at 0 s that comes at once: (sample id's end, kind, label, known), or
            (reason, time) for what is late.
        lone: Event times that end as orphans where there is no impression to meet.
    """

    clicks: tuple[tuple[int, float], ...]
    on_time: tuple[tuple[Any, ...], ...]
    lone: tuple[float, ...]


TIMEOUT = ("#click.0", "timeout", 0, float(WINDOW))


def click(known: float) -> tuple[Any, ...]:
    return ("#click.0", "click", 1, known)


def correction(known: float) -> tuple[Any, ...]:
    return ("#click.1", "correction", 1, known)


def orphan(seconds: float) -> tuple[Any, ...]:
    return ("orphan", None, seconds)


def repeat(seconds: float) -> tuple[Any, ...]:
    return ("repeat", 0.0, seconds)


FEEDBACK = {
    "none": Feedback((), (TIMEOUT,), ()),
    "early": Feedback(((0, 2.0),), (click(2.0),), (2.0,)),
    "edge": Feedback(((0, 5.0),), (click(5.0),), (5.0,)),
    "after_by_1_ms": Feedback(((0, 5.001),), (TIMEOUT, correction(5.001)), (5.001,)),
    "corrects": Feedback(((3, 12.5),), (TIMEOUT, correction(12.5)), (12.5,)),
    "corrects_at_the_edge": Feedback(((3, 15.0),), (TIMEOUT, correction(15.0)), (15.0,)),
    "beyond": Feedback(((3, 15.001),), (TIMEOUT, orphan(15.001)), (15.001,)),
    "before_within_skew": Feedback(((0, -1.0),), (click(-1.0),), (-1.0,)),
    "before_beyond_skew": Feedback(((0, -1.001),), (TIMEOUT, orphan(-1.001)), (-1.001,)),
    "before_beyond_skew_and_early": Feedback(((0, -1.5), (0, 2.0)), (orphan(-1.5), click(2.0)), (-1.5, 2.0)),
    "sent_twice": Feedback(((0, 2.0), (0, 2.0), (2, 2.0)), (click(2.0), repeat(2.0), repeat(2.0)), (2.0, 2.0, 2.0)),
    "twice": Feedback(((0, 1.0), (0, 2.0)), (click(1.0), repeat(2.0)), (1.0, 2.0)),
    "twice_in_reverse": Feedback(((0, 2.0), (0, 1.0)), (click(2.0), repeat(1.0)), (1.0, 2.0)),
    "twice_apart": Feedback(((0, 1.0), (1, 2.0)), (click(1.0), repeat(2.0)), (1.0, 2.0)),
    "thrice": Feedback(((0, 1.0), (0, 3.0), (1, 2.0)), (click(1.0), repeat(2.0), repeat(3.0)), (1.0, 2.0, 3.0)),
    "after_then_early": Feedback(((0, 5.001), (0, 2.0)), (TIMEOUT, correction(5.001), repeat(2.0)), (2.0, 5.001)),
    "early_and_after": Feedback(((0, 2.0), (2, 8.5)), (click(2.0), repeat(8.5)), (2.0, 8.5)),
    "two_after": Feedback(((2, 8.5), (3, 12.5)), (TIMEOUT, correction(8.5), repeat(12.5)), (8.5, 12.5)),
    "late_window_open": Feedback(((1, 1.0),), (click(1.0),), (1.0,)),
    "late_window_closed": Feedback(((2, 2.0),), (TIMEOUT, correction(2.0)), (2.0,)),
}


# Beside the table, clicks that come before their impression: the phase of arrival, what it is, key and event time.
_WAITING = (
    (0, "click", "two wait", 4.0),
    (0, "click", "two wait", 4.5),
    (0, "click", "two wait in reverse", 4.5),
    (0, "click", "two wait in reverse", 4.0),
    (0, "click", "three wait", 4.0),
    (0, "click", "three wait", 0.2),
    (0, "click", "three wait", 14.0),
    (0, "click", "click came first", 1.0),
    (1, "impression", "behind but open", 1.5),
    (1, "click", "behind but open", 4.0),
    (1, "impression", "click came first", 0.5),
    (1, "impression", "both behind", 0.5),
    (1, "click", "both behind", 1.0),
    (1, "click", "both behind, the click first", 1.0),
    (1, "impression", "both behind, the click first", 0.5),
    (1, "impression", "two wait", 1.5),
    (1, "impression", "three wait", 1.5),
    (1, "impression", "two wait in reverse", 1.5),
)
IMPRESSIONS = ("on_time", "duplicated", "late", "future", "missing")


def send(stream: Stream) -> None:
    """The table's events, phase by phase, and everything that came of them."""
    for phase, watermark in enumerate(PHASES):
        if watermark is not None:
            stream.advance(watermark)
        for name, feedback in FEEDBACK.items():
            for impression in IMPRESSIONS:
                key = f"{impression}/{name}"
                if phase == 0 and impression in {"on_time", "duplicated"}:
                    stream.impression(key, 0.0, item=name)
                if phase in {0, 2} and impression == "duplicated":
                    stream.impression(key, 0.0, item="a repeat")
                if phase == 2 and impression == "late":
                    stream.impression(key, 0.0)
                if phase == 0 and impression == "future":
                    stream.impression(key, FUTURE_S)
                for arrives, seconds in feedback.clicks:
                    if arrives == phase:
                        stream.click(key, seconds)
        for arrives, what, key, seconds in _WAITING:
            if arrives == phase:
                (stream.click if what == "click" else stream.impression)(key, seconds)
        stream.producer.flush()
    stream.advance(60.0)
    stream.advance(61.0)


def wanted(impression: str, name: str) -> Counter[tuple[Any, ...]]:
    """What the table says of a key, where a verdict waits for the window and a positive does not."""
    feedback = FEEDBACK[name]
    if impression in {"on_time", "duplicated"}:
        found = Counter(feedback.on_time)
        if impression == "duplicated":
            found["repeat", 0.0, None] = 2
        return found
    found = Counter()
    for seconds in feedback.lone:
        found[("repeat", None, seconds) if orphan(seconds) in found else orphan(seconds)] += 1
    if impression == "late":
        found["late_impression", 0.0, None] = 1
    return found


def of(stream: Stream, key: str) -> Counter[tuple[Any, ...]]:
    """What became of ``key``, as in the table."""
    found: list[tuple[Any, ...]] = []
    for sample in stream.samples:
        own, end, rest = sample["sample_id"].rpartition("#")
        if own == key:
            found.append((end + rest, sample["kind"], sample["label_click"], stream.seconds(sample["known_ts"])))
    found += [
        (row["reason"], stream.seconds(row["impression_ts"]), stream.seconds(row["feedback_ts"]))
        for row in stream.late
        if row["key"] == key
    ]
    return Counter(found)


def dead(stream: Stream, key: str) -> list[str]:
    """The reasons of the dead letters that hold ``key``."""
    bodies = [(row["reason"], base64.b64decode(row["body"] or "")) for row in stream.dead]
    return [reason for reason, body in bodies if orjson.dumps(key) in body]
