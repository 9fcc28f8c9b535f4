"""Follows the page's live figures and the manifests while a replay runs; shows nothing itself."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from typing import Self

import httpx
import orjson

from checkpointing.history import read_manifest
from checkpointing.quality import Quality, by_bucket
from infra.clock import Clock
from infra.errors import Unavailable
from infra.object_store import ObjectStore
from infra.spec import Pipeline
from springtide.probe_command import quantiles

PAUSE_SECONDS = 0.5
EVENT_PREFIX = "data: "


class Watch:
    """What one replay looked like from outside.

    Args:
        pipeline: The pipeline whose page is running.
        store: Its store.
        clock: Spaces the looks.
    """

    def __init__(self, pipeline: Pipeline, store: ObjectStore, clock: Clock) -> None:
        self._pipeline = pipeline
        self._store = store
        self._clock = clock
        self._ended = threading.Event()
        self._next = 1
        self._metrics: list[dict[str, dict[str, object]]] = []
        self._total = Quality()
        self._behind: list[float] = []
        self.behind: float | None = None
        self._threads = [
            threading.Thread(target=self._follow_page, name="watch-page", daemon=True),
            threading.Thread(target=self._follow_versions, name="watch-versions", daemon=True),
        ]

    @property
    def progressive_auc(self) -> float | None:
        """AUC of every sample predicted so far; None before both labels were seen."""
        return self._total.auc

    def behind_quantiles(self) -> tuple[float, float]:
        """p50 and p99 of the headline over the whole watch, seconds, a value a second; zeros before the first."""
        if not self._behind:
            return 0.0, 0.0
        return quantiles(self._behind)[:2]

    def quality_by_time(self) -> dict[int, Quality]:
        """The sums by event-time bucket, as far as versions have been read."""
        return by_bucket(self._metrics)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _follow_page(self) -> None:
        address = f"http://{self._pipeline.dashboard.host}:{self._pipeline.dashboard.port}/api/live"
        while not self._ended.is_set():
            try:
                timeout = httpx.Timeout(5.0, read=30.0)
                with httpx.stream("GET", address, timeout=timeout, trust_env=False) as answer:
                    for line in answer.iter_lines():
                        self._take(line)
                        if self._ended.is_set():
                            return
            except httpx.TransportError:
                self.behind = None
                self._clock.wait(self._ended, PAUSE_SECONDS)

    def _take(self, line: str) -> None:
        if not line.startswith(EVENT_PREFIX):
            return
        tick = orjson.loads(line.removeprefix(EVENT_PREFIX))
        headline = tick["headline"]  # stands in every tick, unlike the other sections
        self.behind = None if headline["behind_ms"] is None else headline["behind_ms"] / 1000
        if self.behind is not None and not headline["idle"]:
            self._behind.append(self.behind)

    def _follow_versions(self) -> None:
        while not self._ended.is_set():
            try:
                manifest = read_manifest(self._store, self._pipeline.name, self._next)
            except Unavailable:
                manifest = None
            if manifest is None:
                self._clock.wait(self._ended, PAUSE_SECONDS)
                continue
            self._next += 1
            self._metrics.append(manifest.metrics)  # type: ignore[arg-type]
            for bucket in manifest.metrics.values():
                self._total.add(Quality.from_json(bucket))  # type: ignore[arg-type]
