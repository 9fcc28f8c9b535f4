"""`springtide probe --every`: one probe after the other, a lost one told, the next sent; a stand-in learns them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from checkpointing.manifest import Probe
from checkpointing.writer import Writer
from infra.clock import SystemClock
from infra.errors import Invalid
from infra.kafka import KafkaAdmin, PartitionReader, TopicSettings
from infra.local.kafka_server import KafkaServer
from infra.metrics import Metrics
from infra.object_store import open_store
from infra.pipeline_file import dump_pipeline
from infra.spec import Pipeline, Store
from infra.status_server import StatusServer
from infra.units import Duration
from springtide.probe import Prober
from springtide.probe_command import run_canary
from streaming.topics import PROBE_PREFIX, user_topics
from tests.checkpointing.reference import content
from tests.springtide.mistakes import call
from tests.streaming.pipelines import pipeline

LOST = 2  # the third
PROBES = 4
TIMEOUT = 3.0


class StandIn(threading.Thread):
    """Learns each probe that it finds on the impressions' topic, all but one, and ends the canary after the last."""

    def __init__(self, spec: Pipeline, stop: threading.Event) -> None:
        super().__init__(name="stand-in")
        self._spec, self._stop_canary = spec, stop
        self._clock = SystemClock()
        self.keys: list[str] = []
        self.applied: list[dict[str, int]] = []

    def run(self) -> None:
        topic = self._spec.events.impressions.topic
        writer = Writer.take_over(open_store(self._spec.store), self._spec.name, "stand-in", self._clock)
        with PartitionReader(self._spec.kafka, topic, group="stand-in") as reader:
            reader.assign(reader.positions_at("beginning"))
            while len(self.keys) < PROBES:
                for value in reader.poll_batch(1, 1.0).values:
                    key = orjson.loads(value or b"")["id"]
                    self.keys.append(key)
                    if len(self.keys) - 1 != LOST:
                        self._learn(writer, key)
        self._clock.sleep(1.0)
        self._stop_canary.set()

    def _learn(self, writer: Writer, key: str) -> None:
        now = self._clock.now_ms()
        probe = Probe(id=key, received_ts=now, sampled_ts=now, trained_ts=now)
        version = writer.commit(content({1: 1}, offset=len(self.keys), probes=[probe])).version
        self.applied.append({"version": version, "committed_ts": now, "applied_ts": self._clock.now_ms()})


@pytest.fixture
def spec(local_kafka: KafkaServer, tmp_path: Path, unique: Callable[[str], str]) -> Pipeline:
    found = pipeline(
        unique("canary"),
        kafka={"bootstrap": local_kafka.bootstrap},
        probe={"enabled": True},
        impressions={"weight": None},
    )
    KafkaAdmin(found.kafka).ensure_topics([TopicSettings(each) for each in user_topics(found)])
    return found.model_copy(update={"store": Store(url=(tmp_path / "store").as_uri())})


def at(spec: Pipeline, replica: str) -> Pipeline:
    targets = spec.dashboard.targets.model_copy(update={"replicas": (replica,)})
    return spec.model_copy(update={"dashboard": spec.dashboard.model_copy(update={"targets": targets})})


def written(spec: Pipeline, folder: Path) -> Path:
    path = folder / "pipeline.yaml"
    path.write_text(dump_pipeline(spec), encoding="utf-8")
    return path


def test_a_lost_probe_is_told_and_the_next_one_sent(
    spec: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = threading.Event()
    learner = StandIn(spec, stop)
    with StatusServer(
        "127.0.0.1",
        0,
        metrics=Metrics("replica"),
        status=lambda: {"applied": list(learner.applied)},
        ready=lambda: None,
    ) as replica:
        path = written(at(spec, replica.url), tmp_path)
        learner.start()
        code = run_canary(path, every=Duration("100ms"), timeout=TIMEOUT, as_json=False, stop=stop)
        learner.join()
    lines = capsys.readouterr().out.splitlines()
    assert code == 1 and len(lines) >= PROBES
    assert ["LOST" in line for line in lines[:PROBES]] == [number == LOST for number in range(PROBES)]
    assert all("replicas 1/1" in line for number, line in enumerate(lines[:PROBES]) if number != LOST)
    assert all(key.startswith(PROBE_PREFIX) for key in learner.keys) and len(set(learner.keys)) == PROBES


def test_probes_are_off_and_weigh_nothing_unless_the_pipeline_says_so(tmp_path: Path) -> None:
    plain = pipeline()
    assert (plain.probe.enabled, plain.probe.weight) == (False, 0.0)
    refused = call("probe", str(written(plain, tmp_path)), "--every", "1m")
    assert refused.exit_code == 2 and "probe.enabled is false" in refused.output
    unit = call("probe", str(written(plain, tmp_path)), "--every", "60")
    assert unit.exit_code == 2 and "--every: got `60`" in unit.output


def test_a_probe_without_weight_is_not_asked_for_its_effect(spec: Pipeline) -> None:
    with (
        Prober(at(spec, "http://127.0.0.1:1"), open_store(spec.store), SystemClock()) as prober,
        pytest.raises(Invalid, match="a probe of weight 0 moves no score"),
    ):
        prober.probe(timeout=1.0, effect=True)
