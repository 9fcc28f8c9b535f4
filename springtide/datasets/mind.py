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
DIM = 9  # the linear weight and eight factors


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
                {"kind": "id", "name": "user_id", "source": "user_id", "table": "user"},
                {"kind": "id", "name": "news_id", "source": "news_id", "table": "news"},
                {"kind": "id", "name": "history", "source": "history", "table": "news", "combiner": "mean"},
            ],
            "tables": [{"name": "user", "dim": DIM}, {"name": "news", "dim": DIM}],
            "model": {"name": "deepfm"},
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


def _time_ms(text: str) -> int:
    moment = datetime.datetime.strptime(text, "%m/%d/%Y %I:%M:%S %p").replace(tzinfo=datetime.UTC)
    return round(moment.timestamp() * 1000)
