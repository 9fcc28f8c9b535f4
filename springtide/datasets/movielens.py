"""MovieLens-100k as impressions and clicks (a rating of 4 or 5 is the click); knows its files' columns."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from springtide.datasets.delays import draw_delays
from springtide.datasets.event import Event
from springtide.datasets.fetch import PackagedData, fetch

PACKAGE = PackagedData(
    requirement="recbole==1.2.1",
    sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
    folder="recbole/dataset_example/ml-100k",
    files=("ml-100k.inter", "ml-100k.item", "ml-100k.user"),
)
CLICK_RATING = 4.0
DIM = 9  # the linear weight and eight factors
MAX_BATCH = 64
CROSSES = {"user_genre": ["user_id", "genres"], "gender_item": ["gender", "item_id"]}


@dataclass(frozen=True, slots=True)
class MovieLens:
    """100,000 timestamped ratings of 943 people on 1,682 films, September 1997 to April 1998."""

    folder: Path
    name: str = "movielens"
    about: str = "100,000 ratings; 4 and 5 count as clicks; click delays are drawn"

    @classmethod
    def load(cls, cache: Path) -> MovieLens:
        return cls(fetch(PACKAGE, cache))

    def document(self) -> dict[str, Any]:
        ids = ("user_id", "item_id", "gender", "occupation", "zip_area", "release_year")
        return {
            "events": {
                "impressions": {
                    "fields": [
                        *({"name": name, "type": "string"} for name in ids),
                        {"name": "genres", "type": "list[string]"},
                        {"name": "age", "type": "integer"},
                    ]
                }
            },
            "features": [
                *({"kind": "id", "name": name, "source": name, "table": name} for name in ids),
                {"kind": "id", "name": "genres", "source": "genres", "table": "genres", "combiner": "mean"},
                *({"kind": "cross", "name": name, "sources": parts, "table": name} for name, parts in CROSSES.items()),
                {"kind": "number", "name": "age", "source": "age", "scaling": "standard"},
            ],
            "tables": [{"name": name, "dim": DIM} for name in (*ids, "genres", *CROSSES)],
            "model": {"name": "deepfm"},
            # What one sample teaches, the next of the same film is to know: large batches cost a hundredth of AUC here.
            # Beside it the page's panel of quality by slice shows something.
            "learner": {"max_batch": MAX_BATCH, "quality_slices": ["gender", "occupation"]},
        }

    def count(self) -> int:
        with (self.folder / "ml-100k.inter").open(encoding="utf-8") as lines:
            return sum(1 for _ in lines) - 1

    def events(self) -> Iterator[Event]:
        users = {row["user_id"]: row for row in _rows(self.folder / "ml-100k.user")}
        items = {row["item_id"]: row for row in _rows(self.folder / "ml-100k.item")}
        ratings = sorted(_rows(self.folder / "ml-100k.inter"), key=lambda row: float(row["timestamp"]))
        delays = draw_delays(len(ratings))
        for rating, delay in zip(ratings, delays, strict=True):
            user, item = users[rating["user_id"]], items[rating["item_id"]]
            yield Event(
                time_ms=round(float(rating["timestamp"]) * 1000),
                key=f"{rating['user_id']}-{rating['item_id']}",
                fields={
                    "user_id": rating["user_id"],
                    "item_id": rating["item_id"],
                    "gender": user["gender"],
                    "occupation": user["occupation"],
                    "zip_area": user["zip_code"][:2],
                    "release_year": item["release_year"],
                    "genres": item["class"].split(),
                    "age": int(user["age"]),
                },
                click_after=float(delay) if float(rating["rating"]) >= CLICK_RATING else None,
            )


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Rows of an atomic file: tab separated, the header's ``name:type`` cut to the name."""
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        names = [column.split(":")[0] for column in next(reader)]
        for row in reader:
            yield dict(zip(names, row, strict=True))
