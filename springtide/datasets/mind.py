"""A MIND news log (behaviors.tsv) as impressions and clicks; knows its columns, not where it lies."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.errors import Invalid
from springtide.datasets.delays import draw_delays
from springtide.datasets.event import Event

HISTORY = 20  # the newest clicks of the reader's history; the log holds them oldest first
LARGEST_BATCH = 64


@dataclass(frozen=True, slots=True)
class Mind:
    """News shown to readers, each candidate one impression, in order of time. The file is not part of Springtide."""

    path: Path
    name: str = "mind"
    about: str = "news impressions; key = impression id and news id; click delays are drawn"

    @classmethod
    def load(cls, folder: Path) -> Mind:
        path = folder / "behaviors.tsv"
        if not path.is_file():
            raise Invalid(
                f"no MIND log at {path}",
                wanted="a folder with behaviors.tsv",
                cure="get MIND-small from its publisher and name its folder by --files",
            )
        return cls(path)

    def document(self) -> dict[str, Any]:
        return {
            "events": {
                "impressions": {
                    "fields": [
                        {"name": "user_id", "type": "string"},
                        {"name": "news_id", "type": "string"},
                        {"name": "history", "type": "list[string]"},
                    ]
                }
            },
            "features": [
                {"name": "news_id", "source": "news_id", "table": "news"},
                {"name": "user_id", "source": "user_id", "table": "user"},
                {
                    "kind": "cross",
                    "name": "history_news",
                    "sources": ["history", "news_id"],
                    "table": "history_news",
                    "combiner": "sum",
                },
            ],
            "tables": [_weights("news", 1.0), _weights("user", 0.1), _weights("history_news", 0.1)],
            # News live for hours: the model must know of one what a counter would, after a handful of showings.
            "model": {"name": "lr", "optimizer": {"learning_rate": 0.3}},
            "learner": {"max_batch": LARGEST_BATCH},
        }

    def count(self) -> int:
        return sum(len(line[4].split()) for line in self._lines())

    def events(self) -> Iterator[Event]:
        lines = sorted(self._lines(), key=lambda line: (_time_ms(line[2]), int(line[0])))
        delays = iter(draw_delays(sum(candidate.endswith("-1") for line in lines for candidate in line[4].split())))
        for impression_id, user, time, history, candidates in lines:
            for candidate in candidates.split():
                news, clicked = candidate.rsplit("-", 1)
                fields = {"user_id": user, "news_id": news, "history": history.split()[-HISTORY:]}
                click_after = float(next(delays)) if clicked == "1" else None
                yield Event(_time_ms(time), f"{impression_id}-{news}", fields, click_after)

    def _lines(self) -> Iterator[list[str]]:
        with self.path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                columns = line.rstrip("\n").split("\t")
                if len(columns) != 5:
                    raise Invalid(
                        f"{len(columns)} tab-separated columns", wanted="5 columns", where=f"{self.path}:{number}"
                    )
                yield columns


def _weights(name: str, learning_rate: float) -> dict[str, Any]:
    """A weight for each id that begins at 0. At rate 1 a click on an id without any moves it by 0.69, as counting
    with 25 showings beforehand would, and each showing back by 0.04."""
    rule = {"kind": "adagrad", "learning_rate": learning_rate, "initial_accumulator": 1.0}
    return {"name": name, "dim": 1, "optimizer": rule, "initializer": {"kind": "constant", "scale": 0.0}}


def _time_ms(text: str) -> int:
    moment = datetime.datetime.strptime(text, "%m/%d/%Y %I:%M:%S %p").replace(tzinfo=datetime.UTC)
    return round(moment.timestamp() * 1000)
