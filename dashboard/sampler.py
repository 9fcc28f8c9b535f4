"""Gathers from Kafka, the store and every process once a second and makes one tick; must not know how it is shown."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from dashboard.bases import BaseReader
from dashboard.board import Board, Section
from dashboard.crowd import Crowd, Found, Lane
from dashboard.decisions import DECISION_TICKS, DecisionReader
from dashboard.feed import Feed, News
from dashboard.gathering import Gathering, Told
from dashboard.history import History
from dashboard.quality import Point
from dashboard.targets import Answer
from dashboard.versions import Chunk, ManifestReader
from infra.clock import Clock
from infra.logs import logger
from infra.metrics import Metrics
from infra.object_store import ObjectStore
from infra.spec import Pipeline
from streaming import sample, topics

_log = logger()

PERIOD_S: Final = 1.0
# What has not answered after this share of a period is taken with a later tick; nothing outside may hold up the page.
GATHER_SHARE: Final = 0.9
VERSION_ROWS: Final = 100
COUNTED: Final = frozenset(
    {"feedback", "dead", sample.CLICK, sample.TIMEOUT, sample.CORRECTED, sample.IMPRESSION, *topics.LATE_REASONS}
)

Publish = Callable[[Mapping[str, Section]], None]


class Sampler:
    """One model's page, from the outside world to ticks. :meth:`run` is for one thread; the rest for any.

    Args:
        pipeline: The model.
        store: Its versions.
        history: Where figures are kept; closed by :meth:`close`.
        clock: Says when now is.
        metrics: Of room ``dashboard``.
        period_s: Seconds from tick to tick.
        may_decide: Whether those who know the token may decide on the page.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        store: ObjectStore,
        history: History,
        clock: Clock,
        metrics: Metrics,
        period_s: float = PERIOD_S,
        may_decide: bool = False,
    ) -> None:
        self._period_s = period_s
        self._clock = clock
        self._metrics = metrics
        self._history = history
        self._lock = threading.Lock()
        self._feed = Feed(pipeline, clock)
        self._manifests = ManifestReader(store, pipeline.name, clock, pipeline.learner.commit_interval.ms)
        self._bases = BaseReader(store, pipeline.name, clock)
        self._decisions = DecisionReader(store, pipeline.name)
        self._replicas: set[str] = set()
        self._written = (0, 0)
        self._through: int | None = None  # until the line of versions is known
        self._board = Board(pipeline, history, clock.now_ms(), may_decide=may_decide)
        self._crowd = Crowd(pipeline.dashboard.targets, clock)
        self._gathering = Gathering()
        self._takers: dict[str, Callable[[Any], None]] = {
            "store": self._take_chunk,
            "bases": self._board.take_base,
            "decisions": lambda found: self._board.take_decisions(*found),
            "kafka": self._take_news,
            "names": self._take_found,
        }
        self._lost: dict[str, str] = {}
        self.ticks = 0
        self.failure: Exception | None = None

    def run(self, stop: threading.Event, publish: Publish) -> None:
        """Ticks once a period until ``stop`` is set; what ends it early stands in :attr:`failure`."""
        try:
            self._run(stop, publish)
        except Exception as error:  # noqa: BLE001 - the server ends with it: a frozen page would be believed
            self.failure = error

    def _run(self, stop: threading.Event, publish: Publish) -> None:
        due = self._clock.monotonic()
        while not stop.is_set():
            publish(self.tick())
            due += self._period_s
            late = self._clock.monotonic() - due
            if late > 0:
                _log.warning("page_tick_late", seconds=round(late, 2))
                due += late
            elif self._clock.wait(stop, -late):
                return

    def tick(self) -> Mapping[str, Section]:
        """Asks everything once, waits a bounded time, and says what is known now."""
        gathering = self._gathering
        gathering.ask("kafka", lambda: [("kafka", Told.by(self._feed.poll))])
        gathering.ask("store", self._read_store)
        if self._crowd.due:
            gathering.ask("names", lambda: [("names", Told(self._crowd.look()))])
        for lane in self._crowd.lanes():
            gathering.ask(lane, lane.ask)
        gathering.wait(GATHER_SHARE * self._period_s)
        now = self._clock.now_ms()
        with self._lock, self._history.together():
            taken = gathering.taken()
            # Versions before samples: what a version holds is settled as soon as its sample is seen.
            for key in ("store", "kafka", "names"):
                for name, told in taken.get(key, ()):
                    self._take(name, told)
            answers = self._crowd.heard({lane: found for lane, found in taken.items() if isinstance(lane, Lane)})
            self._board.take_answers(answers, now)
            sections = self._board.tick(now)
            self.ticks += 1
        self._export(sections, answers)
        return sections

    def version_rows(self, limit: int = VERSION_ROWS) -> list[dict[str, Any]]:
        """The newest versions, newest first."""
        with self._lock:
            return self._board.version_rows(limit)

    def quality_points(self, from_ms: int) -> list[Point]:
        """Quality by impression time from ``from_ms`` on, oldest first."""
        with self._lock:
            return self._board.quality.points(from_ms)

    def dead_letters(self) -> list[dict[str, Any]]:
        """The newest dead letters, newest first, masked."""
        with self._lock:
            return self._board.dead.rows()

    def close(self) -> None:
        """Ends reading; after :meth:`run` has returned."""
        self._gathering.close()
        self._feed.close()
        self._crowd.close()
        self._board.close()
        self._history.close()

    def _read_store(self) -> list[tuple[str, Told]]:
        """What is new in the store, under the name of each trouble."""
        asked: list[tuple[str, Callable[[], Any]]] = [("store", self._next_manifests)]
        if self.ticks % DECISION_TICKS == 0:
            asked.append(("decisions", self._decisions.poll))
        if self._bases.due:
            asked.append(("bases", self._bases.poll))
        return [(name, Told.by(poll)) for name, poll in asked]

    def _take(self, name: str, told: Told) -> None:
        if told.error is None:
            self._takers[name](told.answer)
            self._lost.pop(name, None)
            return
        self._board.take_trouble(name, str(told.error))
        self._metrics.inc("springtide_unavailable_total", dependency=name)
        if self._lost.get(name) != str(told.error):
            _log.warning("page_source_lost", source=name, error=told.error)
        self._lost[name] = str(told.error)

    def _take_found(self, found: Found) -> None:
        for url in self._crowd.take(found):
            self._board.take_gone(url)

    def _next_manifests(self) -> Chunk:
        return self._manifests.poll(self._through)

    def _take_chunk(self, chunk: Chunk) -> None:
        if chunk.line is not None:
            self._board.begin_line(chunk.line)
            self._through = self._board.quality.through
        self._board.take_manifests(chunk.manifests, chunk.left)

    def _take_news(self, news: News) -> None:
        came: Counter[str] = Counter()
        for (kind, _), count in news.counted.items():
            came[kind] += count
        for kind, count in came.items():
            # Anything else would let a message make up metric series.
            if kind in COUNTED:
                self._metrics.inc("springtide_page_records_total", count, kind=kind)
        self._board.take_news(news)

    def _export(self, sections: Mapping[str, Section], answers: list[Answer]) -> None:
        replicas, kept = sections["replicas"], sections["storage"]
        assert isinstance(replicas, list) and isinstance(kept, dict)
        names = set()
        for replica in replicas:
            since = (replica["oldest_received_ts"] or 0) / 1000
            names.add(replica["name"])
            self._metrics.set("springtide_not_learned_since_timestamp_seconds", since, replica=replica["name"])
        for name in self._replicas - names:  # what has gone for good would age for ever
            self._metrics.forget("springtide_not_learned_since_timestamp_seconds", replica=name)
        self._replicas = names
        storage = self._board.storage
        size, puts = self._written
        self._metrics.inc("springtide_store_written_bytes_total", storage.written_bytes - size)
        self._metrics.inc("springtide_store_puts_total", storage.put_objects - puts)
        self._written = (storage.written_bytes, storage.put_objects)
        self._metrics.set("springtide_store_base_bytes", kept["base_bytes"])
        self._metrics.set("springtide_store_chain_bytes", kept["chain_bytes"])
        self._metrics.set("springtide_store_chain_versions", kept["chain_versions"])
        for answer in answers:
            outcome = "failed" if answer.why else "read"
            self._metrics.inc("springtide_page_scrapes_total", target=answer.role, outcome=outcome)
