"""Holds everything that the page shows now and says it as sections of one tick; must not fetch anything."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from checkpointing.control import Decision, Decisions
from checkpointing.manifest import Manifest
from dashboard import said
from dashboard.applied import AppliedVersions
from dashboard.behind import BehindTracker
from dashboard.dead import DeadLetters, words
from dashboard.decisions import as_section
from dashboard.feed import News
from dashboard.flow import Flow
from dashboard.headline import Headline
from dashboard.history import History
from dashboard.measurement import Measurement
from dashboard.past import Event
from dashboard.quality import QualityByTime
from dashboard.slices import QualityBySlice
from dashboard.storage import BaseSize, Storage, gets_per_hour
from dashboard.strip import Happening, Watcher
from dashboard.targets import Answer
from dashboard.verdict import Facts, judge
from dashboard.versions import VersionLog, committed_after, committed_ms, quality_sums, sample_positions
from infra.spec import Pipeline
from streaming import topics

# Missing heartbeats: the learner commits an empty version at least this often, times three.
HEARTBEATS_MISSED: Final = 3
# A tick stays small: more changed buckets than this come with the next reading of the past.
MOST_BUCKETS: Final = 8
# The page's table shows no more versions than this.
MOST_VERSIONS: Final = 12
# What nobody watches second by second is made anew every few ticks: a viewer's line stays thin.
SLOW_TICKS: Final = 5
# Without these nothing can be said; what else cannot be read is an event.
NEEDED: Final = frozenset({"kafka", "store"})

Section = Mapping[str, Any] | Sequence[Any] | int | None


class Board:
    """The page's state; for one thread.

    Args:
        pipeline: The model.
        history: Where figures and events are kept.
        now_ms: When the page began to look.
        may_decide: Whether those who know the token may decide here.
    """

    def __init__(self, pipeline: Pipeline, history: History, now_ms: int, *, may_decide: bool = False) -> None:
        self._pipeline = pipeline
        self._history = history
        self._started_ms = now_ms
        self._tracker = BehindTracker(skew_ms=pipeline.join.skew.ms)
        self._flow = Flow()
        self._applied = AppliedVersions()
        self._watcher = Watcher(now_ms, pipeline.slo.behind.ms)
        self._answers: dict[str, Answer] = {}
        self._headline = Headline()
        self._troubles: dict[str, str] = {}
        self._new_manifests: list[Manifest] = []
        self._happenings: list[Happening] = [("page", "page started")]
        self._left = 0
        self.log = VersionLog()
        self.storage = Storage(pipeline.dashboard.prices, now_ms)
        self.quality = self._kept_quality()
        self.slices = QualityBySlice()
        self.dead = DeadLetters(words(pipeline))
        self._decisions = Decisions()
        self._may_decide = may_decide
        self._slow: dict[str, Section] = {}
        self._ticks = 0

    def begin_line(self, line: str) -> None:
        """Takes the name of the line of versions; the quality of another line in the same place is dropped."""
        if self._history.begin_line(line):
            self._happenings.append(("claim", "the store holds another line of versions; quality begins anew"))
            self.quality = self._kept_quality()
            self.slices = QualityBySlice()

    def take_news(self, news: News) -> None:
        """Takes what came over Kafka."""
        for record in news.feedback:
            self._tracker.feedback(record)
        for key, event_ms in news.late:
            self._tracker.late(key, event_ms)
        for partition, offset in news.dead:
            self._tracker.dead(partition, offset)
        for positive in news.positives:
            self._tracker.sample(positive.key, positive.partition, positive.offset)
        for letter, told_ms in news.letters:
            self.dead.add(letter, told_ms)
        self._flow.count(news.counted)
        self._trouble("kafka", "; ".join(news.troubles.values()))

    def take_manifests(self, manifests: Sequence[Manifest], left: int) -> None:
        """Takes the next manifests; ``left`` are still to come."""
        topic = topics.samples_of(self._pipeline)
        sums = {manifest.version: quality_sums(manifest) for manifest in manifests}
        for manifest in manifests:
            self.log.add(manifest, sums[manifest.version])
            self._tracker.version(manifest.version, sample_positions(manifest, topic))
        self.storage.add(manifests)
        through = self.quality.through
        self.quality.add(manifests, lambda manifest: sums[manifest.version])
        self.slices.add(manifests)
        # Those from before the page, too: who asked for the table before they were read has no other way to them.
        self._new_manifests += manifests[-MOST_VERSIONS:]
        fresh = [manifest for manifest in manifests if manifest.version > through]
        if committed_after(fresh, self._started_ms):
            self._happenings += self._watcher.versions(fresh)
        self._left = left
        self._trouble("store", "")

    def take_base(self, base: BaseSize | None) -> None:
        """Takes the newest base."""
        self.storage.base(base)
        self._trouble("bases", "")

    def take_decisions(self, decisions: Decisions, fresh: Sequence[Decision]) -> None:
        """Takes what people decided, and what of it is new."""
        self._decisions = decisions
        self._happenings += self._watcher.decisions(fresh)
        self._trouble("decisions", "")

    def take_trouble(self, source: str, why: str) -> None:
        """Notes that ``source`` could not be read."""
        self._trouble(source, why)

    def take_answers(self, answers: Sequence[Answer], now_ms: int) -> None:
        """Takes what the processes said."""
        self._happenings += self._watcher.processes(answers, now_ms)
        for answer in answers:
            self._answers[answer.url] = answer
            status = answer.status
            if answer.role == "replica" and isinstance(status.get("version"), int):
                self._tracker.applied(answer.name, status["version"])
                self._applied.take(answer.name, status, self.log)
            elif answer.role == "learner" and answer.up and isinstance(status.get("samples_total"), int):
                self._flow.trained(now_ms, status["samples_total"], said.number(status.get("duplicates_total")))
            elif answer.role == "join" and answer.up and isinstance(status.get("watermark_ms"), int):
                self._tracker.watermark(status["watermark_ms"], now_ms)

    def take_gone(self, url: str) -> None:
        """Takes that nobody is listed at ``url`` any longer, as after a service has been made smaller."""
        answer = self._answers.pop(url, None)
        self._happenings += self._watcher.gone(url)
        if answer is not None and answer.name not in {each.name for each in self._answers.values()}:
            self._tracker.forget(answer.name)
            self._applied.forget(answer.name)

    def close(self) -> None:
        """Writes what is not in the history yet."""
        self.quality.save()

    def tick(self, now_ms: int) -> dict[str, Section]:
        """The sections of one tick; also stores its figures and events."""
        measured = self._tracker.measure(now_ms)
        replicas = said.in_order(answer for answer in self._answers.values() if answer.role == "replica")
        behind = {name: of.ms(now_ms) for name, of in measured.replicas.items()}
        headline = self._headline.section(measured, replicas, self.log, now_ms, readable="kafka" not in self._troubles)
        self._happenings += self._watcher.behind({} if measured.idle else behind)
        self._happenings += self._watcher.troubles(self._troubles)
        rates = self._flow.rates(now_ms)
        self._store(now_ms, headline, behind, rates, measured.idle)
        sections: dict[str, Section] = {
            "t": now_ms,
            "about": said.about(self._pipeline, may_decide=self._may_decide),
            "headline": headline,
            "status": self._status(headline, measured, replicas, now_ms),
            "waterfall": self._applied.waterfall({a.name for a in replicas if a.up}, now_ms),
            "replicas": [said.replica(answer, measured) for answer in replicas],
            "learner": said.process(
                self._of_role("learner"), ("version", "epoch", "state", "behind_records", "samples_total")
            ),
            "join": said.process(self._of_role("join"), ("job_state", "watermark_ms")),
            "rates": rates,
            "minute": self._flow.minute(now_ms),
            "dead": self.dead.section(),
            **self._slow_sections(now_ms, len(replicas)),
            "versions": [self.log.row(manifest.version, self._served()) for manifest in self._new_manifests],
            "decisions": as_section(self._decisions),
            "events": self._events(now_ms),
        }
        self._new_manifests = []
        return sections

    def version_rows(self, limit: int) -> list[dict[str, Any]]:
        """The newest versions, newest first."""
        return self.log.rows(limit, self._served())

    def _kept_quality(self) -> QualityByTime:
        bucket, window = self._pipeline.learner.quality_bucket, self._pipeline.join.window
        return QualityByTime(self._history, bucket_ms=bucket.ms, window_ms=window.ms)

    def _status(
        self, headline: Mapping[str, Any], measured: Measurement, replicas: Sequence[Answer], now_ms: int
    ) -> dict[str, Any]:
        newest = self.log.newest
        refused = self.log.refused()
        join = self._of_role("join")
        verdict = judge(
            Facts(
                versions=newest is not None and headline["version"] is not None,
                behind_ms=headline["behind_ms"],
                slo_ms=self._pipeline.slo.behind.ms,
                idle=measured.idle,
                unreadable=" ".join(f"{name}: {why}" for name, why in self._troubles.items() if name in NEEDED),
                waiting=self._waiting(replicas),
                down=[a.name if a.role == "replica" else a.role for a in self._answers.values() if not a.up],
                replicas=len(replicas),
                replicas_up=sum(answer.up for answer in replicas),
                silent_ms=max(0, now_ms - committed_ms(newest)) if newest else 0,
                silence_ms=HEARTBEATS_MISSED * self._pipeline.learner.heartbeat_interval.ms,
                refused="; ".join(refused.gate.reasons) or "no reason given" if refused else "",
                decided=said.decided(self._of_role("learner"), replicas),
                held=said.held(join, self._pipeline),
                feedback_topic=self._pipeline.events.feedback[0].topic,
                quiet_ms=now_ms - measured.last_feedback_ms if measured.last_feedback_ms is not None else None,
                job_state=str(join.status.get("job_state") or "") if join and join.up else "",
            )
        )
        return {"kind": verdict.kind, "word": verdict.word, "why": verdict.why}

    def _waiting(self, replicas: Sequence[Answer]) -> str:
        if self._left:
            return f"Reading back {self._left} versions from the store."
        if self.log.newest is None:
            return "No version yet: the learner commits the first one after the first samples."
        return "No replica has applied a version yet." if replicas else ""

    def _slow_sections(self, now_ms: int, replicas: int) -> dict[str, Section]:
        """Sums over many versions, and what changes slowly."""
        if self._ticks % SLOW_TICKS == 0:
            self._slow = {
                "storage": self.storage.section(now_ms, gets_per_hour(self._pipeline, replicas)),
                "tables": said.tables(self._of_role("learner")),
                "slices": self.slices.section(),
                "quality": self._quality(),
            }
            self.quality.save()
        self._ticks += 1
        return self._slow

    def _quality(self) -> dict[str, Any]:
        closed = self.quality.last_closed()
        return {
            "overall": self.quality.overall_point() if self.quality.overall.samples else None,
            "closed": closed,
            "changed": self.quality.changed(MOST_BUCKETS),
        }

    def _events(self, now_ms: int) -> list[Event]:
        events = [self._history.add_event(now_ms, kind, text) for kind, text in self._happenings]
        self._happenings = []
        return events

    def _store(
        self, now_ms: int, headline: Mapping[str, Any], behind: Mapping[str, int], rates: Mapping[str, Any], idle: bool
    ) -> None:
        values: dict[str, float] = {}
        if headline["behind_ms"] is not None and not idle:
            values["behind"] = headline["behind_ms"] / 1000
            values |= {f"behind:{name}": length / 1000 for name, length in behind.items()}
        if headline["label_ts"] is not None:
            values["label_age"] = (now_ms - headline["label_ts"]) / 1000
        values |= {name: float(rate) for name, rate in rates.items() if rate is not None}
        values |= {f"stage:{stage}": length / 1000 for stage, length in self._applied.longest_new().items()}
        self._history.record(now_ms, values)

    def _served(self) -> dict[int, list[str]]:
        served: dict[int, list[str]] = {}
        for answer in self._answers.values():
            if answer.role == "replica" and answer.up and isinstance(answer.status.get("version"), int):
                served.setdefault(answer.status["version"], []).append(answer.name)
        return served

    def _of_role(self, role: str) -> Answer | None:
        return next((answer for answer in self._answers.values() if answer.role == role), None)

    def _trouble(self, source: str, why: str) -> None:
        if why:
            self._troubles[source] = why
        else:
            self._troubles.pop(source, None)
