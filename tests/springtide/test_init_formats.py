"""`springtide init` on topics in Avro and Protobuf, with a registry that wants a login; what it writes fits schemas."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner, Result

from infra.clock import iso, new_uuid
from infra.errors import Invalid
from infra.kafka import KafkaAdmin, Producer, TopicSettings
from infra.local.kafka_server import KafkaServer
from infra.pipeline_file import load_pipeline
from infra.spec import Kafka, Pipeline
from springtide.cli import app
from springtide.event_check import check_events
from streaming.schema_check import check_schemas
from tests.springtide.test_survey import BEGIN_MS, delay_ms
from tests.streaming.encodings import (
    AVRO_CLICK,
    AVRO_IMPRESSION,
    FRAME,
    Encoder,
    avro_encoder,
    proto_file,
    protobuf_encoder,
)
from tests.streaming.registry_server import RegistryServer

COUNT = 120


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with RegistryServer("springtide:s3cret", tmp_path_factory.mktemp("registry")) as found:
        yield found


def impression(number: int) -> dict[str, Any]:
    return {
        "id": f"v{number * 7919 % 10007:05d}",
        "at_ms": BEGIN_MS + 20 * number,
        "user": {"city": f"c{number % 7}", "age": 20 + number % 30, "history": [number % 5, number % 3]},
        "item": f"{number % 25}.5",  # text, whatever it looks like
        "place": number % 4,
        "price": 2.5 + number % 9,
        "mobile": number % 2 == 0,
        "tags": [f"t{number % 5}"],
        "device": ("PHONE", "DESK")[number % 2],
    }


def click(number: int) -> dict[str, Any]:
    return {"id": impression(number)["id"], "at_ms": BEGIN_MS + 20 * number + delay_ms(number)}


def send(kafka: Kafka, topic: str, encode: Encoder, events: list[dict[str, Any]], time: Callable[[int], Any]) -> None:
    with Producer(kafka) as producer:
        for event in events:
            body = {**{name: value for name, value in event.items() if name != "at_ms"}, "ts": time(event["at_ms"])}
            producer.send(topic, encode(body), key=body["id"].encode(), timestamp_ms=event["at_ms"])
        producer.flush()


@pytest.fixture(scope="module")
def proto(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return proto_file(tmp_path_factory.mktemp("proto"))


@pytest.fixture(scope="module", params=["avro", "protobuf"])
def sent(
    request: pytest.FixtureRequest, local_kafka: KafkaServer, registry: RegistryServer, proto: Path
) -> tuple[str, str, list[str]]:
    """Topics of impressions in one encoding and of clicks in the other, and what `init` must be told of them."""
    name = f"init-{request.param}-{new_uuid()[:8]}"
    views, clicks = f"{name}.views", f"{name}.clicks"
    kafka = Kafka(bootstrap=local_kafka.bootstrap)
    KafkaAdmin(kafka).ensure_topics([TopicSettings(each, 2, retention_ms=-1) for each in (views, clicks)])
    shown = [impression(number) for number in range(COUNT)]
    clicked = [click(number) for number in range(0, COUNT, 3)]
    in_avro, in_protobuf = (views, clicks) if request.param == "avro" else (clicks, views)
    schema = AVRO_IMPRESSION if in_avro == views else AVRO_CLICK
    message = "shop.v1.Impression" if in_protobuf == views else "shop.v1.Click"
    number = register_at(registry, f"{in_avro}-value", schema)
    # Behind a registry's bytes where they are clicks.
    packed = protobuf_encoder(proto, message, FRAME if in_protobuf == clicks else b"")
    for topic, events in ((views, shown), (clicks, clicked)):
        if topic == in_avro:
            send(kafka, topic, avro_encoder(number, schema), events, int)
        else:
            send(kafka, topic, packed, events, iso)
    return views, clicks, ["--proto", str(proto), "--message", f"{in_protobuf}={message}"]


def register_at(registry: RegistryServer, subject: str, schema: Mapping[str, Any]) -> int:
    return registry.register(subject, orjson.dumps(schema).decode())


def asked(registry: RegistryServer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options of a registry that wants a login."""
    monkeypatch.setenv("REGISTRY_NAME", "springtide")
    monkeypatch.setenv("REGISTRY_WORD", "s3cret")
    names = ["--registry-username-env", "REGISTRY_NAME", "--registry-password-env", "REGISTRY_WORD"]
    return ["--registry", registry.url, "--registry-ca", str(registry.ca), *names]


def init(kafka: KafkaServer, views: str, clicks: str, *words: str) -> Result:
    topics = ["--impressions", views, "--feedback", clicks]
    return CliRunner().invoke(app, ["init", "--bootstrap", kafka.bootstrap, *topics, *words])


def test_init_writes_what_check_accepts_and_what_fits_the_schemas(
    sent: tuple[str, str, list[str]],
    local_kafka: KafkaServer,
    registry: RegistryServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    views, clicks, described = sent
    file = tmp_path / "pipeline.yaml"
    login = asked(registry, monkeypatch)
    result = init(local_kafka, views, clicks, "-o", str(file), *login, *described)
    assert result.exit_code == 0, result.output
    checked = CliRunner().invoke(app, ["check", str(file)])
    assert checked.exit_code == 0, checked.output
    assert "s3cret" not in file.read_text()
    pipeline = load_pipeline(file)
    shown, clicked = pipeline.events.impressions, pipeline.events.feedback[0]
    assert {shown.format, clicked.format} == {"avro", "protobuf"}
    for topic in (shown, clicked):
        assert (topic.key, topic.time) == ("id", "ts")
        assert topic.time_unit == ("ms" if topic.format == "avro" else "iso8601")
    assert (shown.framed, clicked.framed) == (False, clicked.format == "protobuf")
    types = {each.name: each.type for each in shown.fields}
    assert types == {
        "user_city": "string",
        "user_age": "integer",
        "user_history": "list[integer]",
        "item": "string",
        "place": "integer",
        "price": "number",
        "mobile": "boolean",
        "tags": "list[string]",
        "device": "string",
    }
    # What `join` and `doctor` hold it against.
    assert len(check_schemas(pipeline)) == 2
    # And `doctor` the events themselves.
    told = list(check_events(pipeline))
    assert [
        f"`{topic.topic}`" in line and "`id` and `ts`" in line
        for topic, line in zip((shown, clicked), told, strict=True)
    ]
    (avro,) = (place for place, topic in (("impressions", shown), ("feedback", clicked)) if topic.format == "avro")
    document = orjson.loads(pipeline.model_dump_json(exclude_unset=True))
    events = document["events"][avro]
    (events if avro == "impressions" else events[0])["time_unit"] = "us"
    with pytest.raises(Invalid, match="is in milliseconds, and `time_unit` says us"):
        list(check_events(Pipeline.model_validate(document)))


def test_what_is_lacking_is_asked_for(
    sent: tuple[str, str, list[str]],
    local_kafka: KafkaServer,
    registry: RegistryServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    views, clicks, described = sent
    login = asked(registry, monkeypatch)
    _, proto, _, named = described
    topic = named.partition("=")[0]
    for words, told in (
        (described, "--registry URL for Avro"),
        (login, "--message TOPIC=NAME" if topic == views else "a schema that the registry knows"),
        ([*login, "--proto", proto], "--proto and --message go together"),
        (
            [*login, "--proto", proto, "--message", "shop.v1.View"],
            "a topic and its message, as shop.views=shop.v1.View",
        ),
        ([*login, "--proto", proto, "--message", "other=shop.v1.Click"], "topic `other` is not looked at"),
        ([*login, "--proto", proto, "--message", f"{topic}=shop.v1.Veiw"], "describes no message `shop.v1.Veiw`"),
        ([*login[:2], *described], "schema registry"),
    ):
        result = init(local_kafka, views, clicks, "-o", "-", *words)
        assert result.exit_code in {2, 69} and told in " ".join(result.output.split()), (words, result.output)
