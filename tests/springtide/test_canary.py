"""`springtide probe --every`: one probe after the other, a lost one told and counted; a stand-in learns them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from checkpointing.manifest import Probe
from checkpointing.writer import Writer
from infra.clock import SystemClock
from infra.errors import Invalid
from infra.kafka import KafkaAdmin, PartitionReader, TopicSettings
from infra.local.kafka_server import KafkaServer
from infra.local.ports import free_ports
from infra.metrics import Metrics
from infra.object_store import open_store
from infra.pipeline_file import dump_pipeline
from infra.spec import Pipeline, Store
from infra.status_server import StatusServer
from infra.units import Duration
from springtide.canary import Tally, host_and_port, run_canary
from springtide.probe import Prober
from streaming.topics import PROBE_PREFIX, user_topics
from tests.asking import HTTP
from tests.checkpointing.reference import content
from tests.springtide.mistakes import call
from tests.streaming.pipelines import pipeline

LOST = 2  # the third
PROBES = 4
TIMEOUT = 3.0
NAME = "replicas.test"
HOSTS = ("127.0.0.1", "127.0.0.2")


class StandIn(threading.Thread):
    """Learns each probe that it finds on the impressions' topic, all but one, and ends the canary after the last."""

    def __init__(self, spec: Pipeline, stop: threading.Event, metrics: str) -> None:
        super().__init__(name="stand-in")
        self._metrics = metrics
        self.exported = ""
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
        self.exported = HTTP.get(self._metrics).text
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
    spec: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two replicas answer at one port of two addresses, for both of which one name stands."""
    stop = threading.Event()
    port = free_ports(1)[0]
    learner = StandIn(spec, stop, f"http://127.0.0.1:{port}/metrics")
    known = socket.getaddrinfo

    def resolved(host: Any, to: Any, *more: Any, **options: Any) -> Any:
        found = [known(each, to, *more, **options) for each in (HOSTS if host == NAME else [host])]
        return [place for places in found for place in places]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    with ExitStack() as replicas:
        found = 0
        for host in HOSTS:
            server = StatusServer(
                host,
                found,
                metrics=Metrics("replica"),
                status=lambda: {"applied": list(learner.applied)},
                ready=lambda: None,
            )
            found = replicas.enter_context(server).port
        path = written(at(spec, f"http://{NAME}:{found}"), tmp_path)
        learner.start()
        code = run_canary(
            path, every=Duration("100ms"), timeout=TIMEOUT, as_json=False, stop=stop, listen=f"127.0.0.1:{port}"
        )
        learner.join()
    lines = capsys.readouterr().out.splitlines()
    assert code == 1 and len(lines) >= PROBES
    assert ["LOST" in line for line in lines[:PROBES]] == [number == LOST for number in range(PROBES)]
    assert all("replicas 2/2" in line for number, line in enumerate(lines[:PROBES]) if number != LOST)
    assert all(key.startswith(PROBE_PREFIX) for key in learner.keys) and len(set(learner.keys)) == PROBES
    exported = {
        (sample.name, sample.labels.get("outcome")): sample.value
        for family in text_string_to_metric_families(learner.exported)
        for sample in family.samples
    }
    assert exported["springtide_probes_total", "lost"] == 1
    assert exported["springtide_probes_total", "learned"] >= PROBES - 2
    assert exported["springtide_probe_seconds_count", None] >= PROBES - 2


def test_a_canary_outlives_brokers_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nobody = pipeline(kafka={"bootstrap": f"127.0.0.1:{free_ports(1)[0]}"}, probe={"enabled": True})
    path = written(at(nobody, "http://127.0.0.1:1"), tmp_path)
    stop = threading.Event()
    threading.Timer(1.0, stop.set).start()
    assert run_canary(path, every=Duration("1m"), timeout=1.0, as_json=True, stop=stop) == 1
    assert "no broker answers" in orjson.loads(capsys.readouterr().out)["lost"]


def test_a_canary_that_never_saw_a_probe_through_ages_from_its_start() -> None:
    tally = Tally("shop", SystemClock())
    began = tally.metrics.value("springtide_probe_learned_timestamp_seconds")
    tally.missed()
    assert began > 0 and tally.metrics.value("springtide_probe_learned_timestamp_seconds") == began
    assert tally.status() == {"role": "canary", "model": "shop", "learned": 0, "lost": 1}


@pytest.mark.parametrize(
    ("listen", "wanted"), [("0.0.0.0:8900", ("0.0.0.0", 8900)), (":1", ("0.0.0.0", 1)), ("[::]:8900", ("::", 8900))]
)
def test_where_a_canary_listens(listen: str, wanted: tuple[str, int]) -> None:
    assert host_and_port(listen) == wanted


@pytest.mark.parametrize("listen", ["8900", "host:", "host:http", "host:70000"])
def test_where_nobody_can_listen(listen: str) -> None:
    with pytest.raises(Invalid, match="--listen: got"):
        host_and_port(listen)


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
