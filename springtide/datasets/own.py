"""A user's own log: two JSON-lines files, impressions and feedback, as their pipeline.yaml describes them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import orjson

from infra.errors import Invalid
from infra.spec import Pipeline, Topic
from springtide.datasets.event import Event

UNIT_MS = {"s": 1000.0, "ms": 1.0, "us": 0.001}


@dataclass(frozen=True, slots=True)
class OwnLog:
    """Impressions and feedback as a user's servers wrote them, one JSON object a line."""

    pipeline: Pipeline
    impressions: Path
    feedback: Path
    name: str = "own"
    about: str = "your own files; click times as logged"

    def document(self) -> dict[str, Any]:
        # Without `join`: its windows are those of real time, and a replay's are compressed with its clock.
        return self.pipeline.model_dump(mode="json", include={"events", "features", "tables", "model"})

    def count(self) -> int:
        return len({_key(row, self.pipeline.events.impressions, where) for where, row in _rows(self.impressions)})

    def events(self) -> Iterator[Event]:
        clicks = self._first_clicks()
        source = self.pipeline.events.impressions
        names = [field.name for field in source.fields]
        window = self.pipeline.join.window.ms
        events: dict[str, Event] = {}
        for where, row in _rows(self.impressions):
            key, shown = _key(row, source, where), _time_ms(row, source, where)
            clicked = clicks.get(key)
            fields = {name: row.get(name) for name in names}
            # A line that repeats a key is the same impression, written again by a server that tried twice.
            events.setdefault(key, Event(shown, key, fields, None if clicked is None else (clicked - shown) / window))
        yield from sorted(events.values(), key=attrgetter("time_ms"))

    def _first_clicks(self) -> dict[str, int]:
        source = self.pipeline.events.feedback[0]
        clicks: dict[str, int] = {}
        for where, row in _rows(self.feedback):
            key, time_ms = _key(row, source, where), _time_ms(row, source, where)
            clicks[key] = min(time_ms, clicks.get(key, time_ms))
        return clicks


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        lines = path.open("rb")
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}", cure="name a file of JSON lines") from error
    with lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise Invalid(f"not JSON: {error}", wanted="one JSON object a line", where=where) from error
            if not isinstance(row, dict):
                raise Invalid(f"a JSON {type(row).__name__}", wanted="a JSON object", where=where)
            yield where, row


def _key(row: Mapping[str, Any], source: Topic, where: str) -> str:
    key = row.get(source.key)
    if key is None or key == "":
        raise Invalid(f"no `{source.key}`", wanted="the join key in every line", where=where)
    return str(key)


def _time_ms(row: Mapping[str, Any], source: Topic, where: str) -> int:
    value = row.get(source.time)
    try:
        if source.time_unit == "iso8601":
            moment = datetime.datetime.fromisoformat(str(value))
            return round(moment.replace(tzinfo=moment.tzinfo or datetime.UTC).timestamp() * 1000)
        return round(float(str(value)) * UNIT_MS[source.time_unit])
    except ValueError as error:
        raise Invalid(
            f"`{source.time}` is {value!r}", wanted=f"a time in unit {source.time_unit}", where=where
        ) from error
