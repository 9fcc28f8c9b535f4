"""How much goes wrong in a run, drawn from its seed or shrunk from another; moves nothing."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

GRACE_S = 40.0


@dataclass(frozen=True)
class Weather:
    """Everything that a run depends on.

    Attributes:
        seed: Of every draw.
        seconds: Virtual length.
        failed: Share of requests that do nothing and say so.
        lost: Share that are done, with the reply lost.
        delayed: Share of writes that are done up to three grace times after they were reported as failed.
        repeated: Share of writes that the client does twice.
        crash: Share of requests after which the process ends.
        stall: Share of requests after which the process stands still for up to five grace times.
        hesitant: The same for writers alone, on top.
        writers: Processes that want to write; one of them may.
        followers: Replicas.
        readers: People who restore old versions.
        patience_s: How long a reader looks at each version on its way, at most.
        decisions: Whether people pin, promote and unpin.
        servable: Share of versions that the gate lets pass.
        reverts: Share of commits that begin from an older version.
        compaction: Whether a compactor runs.
        collection: Whether a collector runs.
    """

    seed: int
    seconds: float = 300.0
    failed: float = 0.0
    lost: float = 0.0
    delayed: float = 0.0
    repeated: float = 0.0
    crash: float = 0.0
    stall: float = 0.0
    hesitant: float = 0.0
    writers: int = 2
    followers: int = 1
    readers: int = 0
    patience_s: float = 0.0
    decisions: bool = True
    servable: float = 0.8
    reverts: float = 0.0
    compaction: bool = True
    collection: bool = True

    @classmethod
    def of(cls, seed: int) -> Weather:
        """From calm to storm."""
        draw = random.Random(~seed)
        storm = draw.choice([0.0, 0.01, 0.03, 0.1])

        def some(most: float) -> float:
            return most * draw.random() if draw.random() < 0.6 else 0.0

        return cls(
            seed=seed,
            seconds=draw.choice([40.0] * 5 + [80.0] * 3 + [160.0, 300.0]),
            failed=some(storm),
            lost=some(storm),
            delayed=some(storm),
            repeated=some(storm),
            crash=some(0.03),
            stall=some(0.06),
            writers=draw.choice([1, 2, 2]),
            followers=draw.choice([0, 1, 1]),
            readers=draw.choice([0, 0, 2]),
            decisions=draw.random() < 0.3,
            servable=draw.choice([0.8, 0.8, 0.8, 0.2]),
            reverts=draw.choice([0.0, 0.0, 0.1]),
        )

    def calmer(self) -> Iterator[Weather]:
        """Simpler runs of the same seed, the largest steps first."""
        for name in ("failed", "lost", "delayed", "repeated", "crash", "stall", "reverts"):
            if getattr(self, name) > 0:
                yield replace(self, **{name: 0.0})  # type: ignore[arg-type]
        if self.servable < 1:
            yield replace(self, servable=1.0)
        for name in ("decisions", "compaction", "collection"):
            if getattr(self, name):
                yield replace(self, **{name: False})
        if self.writers > 1:
            yield replace(self, writers=self.writers - 1)
        if self.followers > 0:
            yield replace(self, followers=self.followers - 1)
        if self.readers > 0:
            yield replace(self, readers=self.readers - 1)
        for share in (0.5, 0.8, 0.95):
            yield replace(self, seconds=round(self.seconds * share, 1))
