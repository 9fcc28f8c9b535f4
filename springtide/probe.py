"""Sends a new impression and its click and times it to every replica; knows no terminal."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

import httpx
import orjson

from checkpointing.history import newest_version, read_manifest
from checkpointing.manifest import Manifest
from infra.addresses import addresses_of, with_address
from infra.clock import Clock, new_uuid
from infra.errors import Invalid, Unavailable
from infra.kafka import PartitionReader, Producer
from infra.object_store import ObjectStore
from infra.spec import FieldType, Pipeline
from springtide.datasets.replay import event_body
from streaming.topics import PROBE_PREFIX

# Times come from whoever worked on the probe: looking more often would only take its processors from the loop.
POLL_SECONDS = 0.05
# Names are resolved anew this often while replicas are waited for.
NAMES_SECONDS = 1.0
# Steps of this share go evenly round a circle, however many there are.
GOLDEN_RATIO = (5**0.5 - 1) / 2
# How far back to look for a real impression whose features the probe takes.
TEMPLATE_MESSAGES = 1
REQUEST_SECONDS = 5.0
BLANK: Mapping[FieldType, object] = {
    "string": "probe",
    "integer": 0,
    "number": 0.0,
    "boolean": False,
    "list[string]": [],
    "list[integer]": [],
}


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The way of one probe; times in milliseconds of the wall clock.

    Attributes:
        probe_id: The join key.
        version: The version that learned it.
        sent_ms: Just before the impression and the click were sent.
        joined_ms: When its sample stood in Kafka.
        trained_ms: When its batch had been trained.
        committed_ms: When the manifest was sealed.
        applied_ms: Per replica, when that version or a later one was switched to.
        scores: What the first replica answered for these features before and after, if asked.
    """

    probe_id: str
    version: int
    sent_ms: int
    joined_ms: int
    trained_ms: int
    committed_ms: int
    applied_ms: Mapping[str, int]
    scores: tuple[float, float] | None

    @property
    def seconds(self) -> float:
        """From the click to the slowest replica."""
        return (max(self.applied_ms.values()) - self.sent_ms) / 1000


@dataclass(frozen=True, slots=True)
class Replica:
    """Where one replica is asked, and the address that the pipeline has for it, by whose name it is known."""

    url: str
    named: SplitResult


class Prober:
    """Sends probes through one running loop.

    Args:
        pipeline: The pipeline; probes must be enabled in it, and the replicas must be among its targets.
        store: The model's store.
        clock: The wall clock, which must be that of the other processes.

    Raises:
        Invalid: Probes are switched off, or not of the topics' format, or no replica is named.
        Unavailable: No broker answers.
    """

    def __init__(self, pipeline: Pipeline, store: ObjectStore, clock: Clock) -> None:
        if not pipeline.probe.enabled:
            raise Invalid("probe.enabled is false", cure="set `probe: {enabled: true}` where topics may be written to")
        for topic in (pipeline.events.impressions, pipeline.events.feedback[0]):
            if topic.format != "json":
                raise Invalid(
                    f"topic `{topic.topic}` has {topic.format} events; probes are sent as JSON only",
                    cure="time real events: the page shows how far behind the model is",
                )
        if not pipeline.dashboard.targets.replicas:
            raise Invalid("dashboard.targets.replicas is empty", cure="name the replicas' addresses there")
        self._pipeline = pipeline
        self._store = store
        self._clock = clock
        self._fields = self._template()  # first: where no broker answers, nothing is left open
        self._producer = Producer(pipeline.kafka)
        self._http = httpx.Client(timeout=REQUEST_SECONDS, trust_env=False)
        # The first version that has not been read yet.
        self._next = 1

    def probe(self, *, timeout: float, effect: bool = False) -> ProbeResult:
        """Sends one probe and waits until every replica has learned it.

        Raises:
            Unavailable: It was not learned, or not applied everywhere, within ``timeout`` seconds.
            Invalid: Its effect is asked for, and it has none.
        """
        events = self._pipeline.events
        if effect and self._pipeline.probe.weight == 0:
            raise Invalid(
                "a probe of weight 0 moves no score",
                cure="leave --effect out; a demo sets `probe.weight`, production never",
            )
        before = self._score() if effect else None
        # The probe can only be in a version that does not exist yet.
        self._next = max(self._next, (newest_version(self._store, after=self._next - 1) or 0) + 1)
        key = f"{PROBE_PREFIX}{new_uuid()}"
        deadline = self._clock.monotonic() + timeout
        sent_ms = self._clock.now_ms()
        impression = event_body(events.impressions, key, sent_ms, self._fields)
        click = event_body(events.feedback[0], key, sent_ms + 1, {})
        self._producer.send(events.impressions.topic, orjson.dumps(impression), key=key.encode())
        self._producer.send(events.feedback[0].topic, orjson.dumps(click), key=key.encode())
        self._producer.flush()
        manifest = self._await_version(key, deadline)
        learned = next(probe for probe in manifest.probes if probe.id == key)
        applied = self._await_replicas(manifest.version, deadline)
        after = self._score() if effect else None
        return ProbeResult(
            probe_id=key,
            version=manifest.version,
            sent_ms=sent_ms,
            joined_ms=learned.sampled_ts,
            trained_ms=learned.trained_ts,
            committed_ms=manifest.created_ts,
            applied_ms=applied,
            scores=(before, after) if before is not None and after is not None else None,
        )

    def probes(self, count: int, *, timeout: float, effect: bool = False) -> Iterator[ProbeResult]:
        """``count`` probes, one after the other.

        Each is followed by a pause, so that they meet every phase of the commit interval evenly, as clicks do: a probe
        sent when the last one was applied would always wait for nearly a whole one.

        Raises:
            Unavailable: As :meth:`probe`.
        """
        for number in range(count):
            yield self.probe(timeout=timeout, effect=effect)
            if number + 1 < count:
                self._clock.sleep(number * GOLDEN_RATIO % 1 * self._pipeline.learner.commit_interval.seconds)

    def close(self) -> None:
        """Ends the connections."""
        self._producer.close()
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _await_version(self, key: str, deadline: float) -> Manifest:
        while self._clock.monotonic() < deadline:
            manifest = read_manifest(self._store, self._pipeline.name, self._next)
            if manifest is None:
                self._clock.sleep(POLL_SECONDS)
                continue
            self._next += 1
            if any(probe.id == key for probe in manifest.probes):
                return manifest
        raise Unavailable(
            f"probe {key} is in no version up to {self._next - 1}",
            cure="`springtide doctor` examines the servers; the page shows which stage stands still",
        )

    def _await_replicas(self, version: int, deadline: float) -> dict[str, int]:
        applied: dict[str, int] = {}
        asked_again = self._clock.monotonic()
        replicas: list[Replica] = []
        while True:
            # Pods come and go behind one name: who is gone need not learn any more.
            if self._clock.monotonic() >= asked_again:
                replicas = self._replicas()
                asked_again = self._clock.monotonic() + NAMES_SECONDS
            for replica in replicas:
                if replica.url not in applied:
                    moment = self._applied_at(replica, version)
                    if moment is not None:
                        applied[replica.url] = moment
            missing = [replica.url for replica in replicas if replica.url not in applied]
            if replicas and not missing:
                return applied
            if self._clock.monotonic() > deadline:
                where = ", ".join(missing) or "any replica: the names of dashboard.targets.replicas are unknown"
                raise Unavailable(f"version {version} is not applied at {where}", cure="read that replica's log")
            self._clock.sleep(POLL_SECONDS)

    def _replicas(self) -> list[Replica]:
        """Every replica behind the names of the pipeline; none while a name is unknown."""
        try:
            return [
                Replica(with_address(url, address), urlsplit(url))
                for url in self._pipeline.dashboard.targets.replicas
                for address in addresses_of(url)
            ]
        except OSError:
            return []

    def _applied_at(self, replica: Replica, version: int) -> int | None:
        asked = {"headers": {"Host": replica.named.netloc}, "extensions": {"sni_hostname": replica.named.hostname}}
        try:
            status = self._http.get(f"{replica.url}/status", **asked).json()  # type: ignore[arg-type]
        except (httpx.TransportError, ValueError):
            return None
        moments = [entry["applied_ts"] for entry in status["applied"] if entry["version"] >= version]
        return int(min(moments)) if moments else None

    def _score(self) -> float:
        """The first replica's answer for the probe's features."""
        address = self._pipeline.dashboard.targets.replicas[0]
        url = f"{address}/v1/models/{self._pipeline.name}:predict"
        answer = self._http.post(url, json={"instances": [self._fields]})
        if answer.status_code != httpx.codes.OK:
            raise Unavailable(f"{url} answered {answer.status_code}: {answer.text[:200]}")
        prediction = answer.json()["predictions"][0]
        return float(prediction[0] if isinstance(prediction, list) else prediction)

    def _template(self) -> dict[str, Any]:
        """Features of a recent impression, so that a probe looks like the traffic; blanks where there is none."""
        source = self._pipeline.events.impressions
        fields: dict[str, Any] = {field.name: BLANK[field.type] for field in source.fields}
        with PartitionReader(self._pipeline.kafka, source.topic, group="springtide-probe") as reader:
            marks = reader.watermarks()
            reader.assign({p: max(low, high - TEMPLATE_MESSAGES) for p, (low, high) in marks.items() if high > low})
            if reader.positions():
                for value in reader.poll_batch(TEMPLATE_MESSAGES, REQUEST_SECONDS).values:
                    fields |= _known(value, fields)
        return fields


def _known(value: bytes | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    try:
        body = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return {}
    return {name: body[name] for name in fields if name in body} if isinstance(body, dict) else {}
