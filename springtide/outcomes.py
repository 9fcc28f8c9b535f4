"""What became of every event, as sets of keys; knows records and their forms, not where they are read or sent."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import orjson

from streaming import sample
from streaming.topics import is_probe

POSITIVE_KINDS = (sample.CLICK, sample.CORRECTED)
VERDICT_SUFFIX = f".{sample.VERDICT}"


@dataclass(slots=True)
class Outcomes:
    """Collects the records of the topics `samples`, `late` and `dead`.

    Sets, because a record may be delivered more than once and still is one outcome. Probes are nobody's events: only
    their sample ids are kept, since they are learned like any other's.

    Attributes:
        samples: Sample id -> how many records bear it.
        verdicts: Keys of impressions with a verdict.
        late: Keys of impressions that came too late for one.
        positives: Keys whose click became a sample, as the verdict or as its correction.
        orphans: Keys whose click found no impression.
        repeats: Keys of which an impression or a feedback came again.
        dead: Topic -> places, (partition, offset), of the events that could not be read.
    """

    samples: Counter[str] = field(default_factory=Counter)
    verdicts: set[str] = field(default_factory=set)
    late: set[str] = field(default_factory=set)
    positives: set[str] = field(default_factory=set)
    orphans: set[str] = field(default_factory=set)
    repeats: set[str] = field(default_factory=set)
    dead: dict[str, set[tuple[int, int]]] = field(default_factory=dict)

    def add_sample(self, value: bytes) -> None:
        """Takes a record of the topic `samples`."""
        row = orjson.loads(value)
        name: str = row["sample_id"]
        self.samples[name] += 1
        key = name.rpartition("#")[0]
        if is_probe(key):
            return
        if name.endswith(VERDICT_SUFFIX):
            self.verdicts.add(key)
        if row["kind"] in POSITIVE_KINDS:
            self.positives.add(key)

    def add_late(self, value: bytes) -> None:
        """Takes a record of the topic `late`."""
        row = orjson.loads(value)
        if not is_probe(row["key"]):
            {"orphan": self.orphans, "late_impression": self.late}.get(row["reason"], self.repeats).add(row["key"])

    def add_dead(self, value: bytes) -> None:
        """Takes a record of the topic `dead`."""
        row = orjson.loads(value)
        self.dead.setdefault(row["topic"], set()).add((row["partition"], row["offset"]))

    @property
    def decided(self) -> int:
        """Impressions that have an outcome."""
        return len(self.verdicts | self.late)

    @property
    def answered(self) -> int:
        """Clicks that have an outcome, by key: a second click on one impression is a repeat and has none."""
        return len(self.positives | self.orphans)
