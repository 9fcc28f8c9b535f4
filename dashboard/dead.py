"""Keeps the newest dead letters with their bytes masked; must not show what a person wrote or did."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import binascii
import re
from bisect import insort
from collections.abc import Collection, Mapping
from typing import Any, Final

from infra.spec import Pipeline

KEPT: Final = 20
# Of one letter; what is wrong with it mostly stands at its beginning.
SHOWN_BYTES: Final = 400
# A word, or any sign that is no plain one: a picture says something, too.
_WORD: Final = re.compile(r"\w+|[^\x00-\x7f]")


class DeadLetters:
    """The newest letters, newest first.

    Args:
        names: Words of the pipeline (fields and keys of its events), which may be shown as they are.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._oldest_first: list[dict[str, Any]] = []

    def add(self, letter: Mapping[str, Any], told_ms: int) -> None:
        """Takes one message of the dead topic, and its Kafka time."""
        body = letter.get("body")
        try:
            raw = base64.b64decode(body, validate=True) if isinstance(body, str) else b""
        except binascii.Error:
            raw = b""
        shown = {
            "t": told_ms,
            "reason": str(letter.get("reason"))[:40],
            "topic": str(letter.get("topic"))[:255],
            "partition": _number(letter.get("partition")),
            "offset": _number(letter.get("offset")),
            "bytes": len(raw),
            "body": masked(raw[:SHOWN_BYTES], self._names),
        }
        insort(self._oldest_first, shown, key=lambda row: row["t"])  # partitions are read one after another
        del self._oldest_first[:-KEPT]

    def rows(self) -> list[dict[str, Any]]:
        """The letters as the page shows them."""
        return self._oldest_first[::-1]

    def section(self) -> dict[str, Any]:
        """How many there are to open, and of when the newest is."""
        return {
            "kept": len(self._oldest_first),
            "newest_ts": self._oldest_first[-1]["t"] if self._oldest_first else None,
        }


def masked(raw: bytes, names: Collection[str] = ()) -> str:
    """The bytes as text whose shape is left: letters become ``x``, digits ``9``; known names and JSON's words stay.

    Bytes that are no text are hidden whole.
    """
    try:
        text = raw.decode("utf-8", errors="strict" if len(raw) < SHOWN_BYTES else "ignore")
    except UnicodeDecodeError:
        return ""
    if sum(not (character.isprintable() or character.isspace()) for character in text) > len(text) / 20:
        return ""
    known = {*names, "true", "false", "null"}
    return _WORD.sub(lambda word: word[0] if word[0] in known else _hidden(word[0]), text)


def words(pipeline: Pipeline) -> set[str]:
    """The pipeline's names of what events consist of; they are no data."""
    events = (pipeline.events.impressions, *pipeline.events.feedback)
    own = {name for event in events for name in (event.key, event.time)}
    return own | {field.name for field in pipeline.events.impressions.fields}


def _hidden(word: str) -> str:
    return "".join("9" if character.isdigit() else "_" if character == "_" else "x" for character in word)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
