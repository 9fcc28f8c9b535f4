"""A schema that lacks what a pipeline reads is refused before a job is submitted, by the name of every field."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from infra.errors import Invalid, Unavailable
from infra.spec import Pipeline
from streaming.schema_check import check_schemas
from tests.streaming.encodings import AVRO_IMPRESSION, PROTO, proto_file
from tests.streaming.pipelines import pipeline
from tests.streaming.registry_server import RegistryServer

FIELDS = [
    {"name": "city", "path": "user.city"},
    {"name": "history", "type": "list[integer]", "path": "user.history"},
    {"name": "item"},
    {"name": "place", "type": "integer"},
    {"name": "price", "type": "number"},
    {"name": "mobile", "type": "boolean"},
    {"name": "tags", "type": "list[string]"},
    {"name": "device"},
    {"name": "friend", "path": "friend.city"},
]


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    with RegistryServer(login="springtide:s3cret") as found:
        yield found


def avro(registry: RegistryServer, **login: Any) -> Pipeline:
    return pipeline(
        impressions={"format": "avro", "fields": FIELDS, "time_unit": "ms"},
        schema_registry={
            "url": registry.url,
            **({"username": {"value": "springtide"}, "password": {"value": "s3cret"}} | login),
        },
    )


def changed(**fields: Any) -> str:
    """The schema with some fields of other types; None removes one."""
    schema = copy.deepcopy(AVRO_IMPRESSION)
    schema["fields"] = [
        {**each, "type": fields.get(each["name"], each["type"])}
        for each in schema["fields"]
        if fields.get(each["name"], "") is not None
    ]
    return json.dumps(schema)


def protobuf(path: Path, message: str = "shop.v1.Impression", **impressions: Any) -> Pipeline:
    described = {"format": "protobuf", "proto": str(path), "message": message, "fields": FIELDS}
    return pipeline(impressions=described | impressions)


def test_a_schema_with_all_that_is_read_passes(registry: RegistryServer, tmp_path: Path) -> None:
    registry.register("model.impressions-value", changed())
    (checked,) = check_schemas(avro(registry))
    assert checked == ("model.impressions", "subject `model.impressions-value` version 1")
    (checked,) = check_schemas(protobuf(proto_file(tmp_path)))
    assert checked.topic == "model.impressions"
    assert check_schemas(pipeline()) == ()


def test_every_field_that_is_missing_or_of_another_type_is_named(registry: RegistryServer) -> None:
    user = {"type": "record", "name": "User", "fields": [{"name": "town", "type": "string"}]}
    registry.register("model.impressions-value", changed())
    registry.register(
        "model.impressions-value",
        changed(user=user, price="string", item=None, tags={"type": "map", "values": "string"}, ts="long", w="string"),
    )
    with pytest.raises(Invalid) as refused:
        check_schemas(avro(registry))
    lines = refused.value.what.splitlines()
    assert all(
        line.startswith("topic `model.impressions`, subject `model.impressions-value` version 2: ") for line in lines
    )
    told = [line.partition("version 2: ")[2] for line in lines]
    assert told == [
        "`user.city` is missing, wanted for the field `city`",
        "`user.history` is missing, wanted for the field `history`",
        "`item` is missing, wanted for the field `item`",
        "`price` is string, wanted for the field `price`: number or integer",
        "`tags` is object, wanted for the field `tags`: list[string] or list[integer]",
        "`friend.city` is missing, wanted for the field `friend`",
        "`w` is string, wanted for `weight`: number or integer",
    ]
    assert "events" in refused.value.cure


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"ts": {"type": "long", "logicalType": "timestamp-micros"}},
            "`ts` is timestamp in us, wanted.*`time_unit: us`",
        ),
        ({"ts": "string"}, "`ts` is string, wanted for `time`: integer or number"),
        ({"ts": None}, "`ts` is missing, wanted for `time`"),
        ({"id": "bytes"}, "`id` is bytes, wanted for `key`"),
        ({"place": ["null", "long", "string"]}, "`place` is string, wanted for the field `place`: integer"),
        ({"device": None, "place": "double"}, "`place` is number"),
    ],
)
def test_a_change_of_one_field(registry: RegistryServer, fields: dict[str, Any], told: str) -> None:
    registry.register("model.impressions-value", changed(**fields))
    with pytest.raises(Invalid, match=told):
        check_schemas(avro(registry))


def test_types_named_in_other_subjects_are_looked_up(registry: RegistryServer) -> None:
    user = next(each["type"][1] for each in AVRO_IMPRESSION["fields"] if each["name"] == "user")
    registry.register("users", json.dumps({**user, "namespace": "shop.v1"}))
    reference = {"name": "shop.v1.User", "subject": "users", "version": 1}
    text = changed(user=["null", "shop.v1.User"])
    registry.register("model.impressions-value", text, references=[reference])
    assert len(check_schemas(avro(registry))) == 1


def test_protobuf_fields_are_held_against_the_message(tmp_path: Path) -> None:
    path = proto_file(tmp_path)
    path.write_text(PROTO.replace("optional float price", "optional string price").replace("city = 1", "town = 1"))
    with pytest.raises(Invalid) as refused:
        check_schemas(protobuf(path))
    assert re.findall(r": (`.*)", refused.value.what) == [
        "`user.city` is missing, wanted for the field `city`",
        "`price` is string, wanted for the field `price`: number or integer",
        "`friend.city` is missing, wanted for the field `friend`",
    ]
    with pytest.raises(Invalid, match=r"`ts` is timestamp, wanted for `time`: `time_unit: iso8601`"):
        check_schemas(protobuf(proto_file(tmp_path), time_unit="ms"))


def test_what_cannot_be_compiled_or_is_not_there_is_told(tmp_path: Path) -> None:
    path = proto_file(tmp_path)
    with pytest.raises(Invalid, match=r"no message `shop.v1.Imp`.*`shop.v1.Impression`"):
        check_schemas(protobuf(path, message="shop.v1.Imp"))
    path.write_text("message Broken {")
    with pytest.raises(Invalid, match=r"events\.proto:1:\d+"):
        check_schemas(protobuf(path))
    with pytest.raises(Invalid, match="no such file"):
        check_schemas(protobuf(tmp_path / "gone.proto"))


def test_a_registry_that_refuses_lacks_or_does_not_answer_is_told(registry: RegistryServer) -> None:
    with pytest.raises(Invalid, match=r"knows no subject `model.impressions-value`"):
        check_schemas(avro(registry))
    with pytest.raises(Invalid, match=r"refuses access \(401\)") as refused:
        check_schemas(avro(registry, password={"value": "wr0ng"}))
    assert "wr0ng" not in str(refused.value)
    registry.broken = True
    with pytest.raises(Unavailable, match="answers 503"):
        check_schemas(avro(registry))
    registry.close()
    with pytest.raises(Unavailable, match="does not answer"):
        check_schemas(avro(registry))


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"impressions": {"format": "avro"}}, "avro wants `schema_registry`"),
        ({"schema_registry": {"url": "http://r:1"}}, "unused: no topic has `format: avro`"),
        ({"impressions": {"format": "protobuf"}}, "protobuf wants `message`"),
        ({"impressions": {"subject": "x"}}, "unused with `format: json`"),
        ({"feedback": {"format": "protobuf", "proto": "a", "message": "1x"}}, "message"),
        (
            {"impressions": {"format": "avro"}, "schema_registry": {"url": "http://r:1", "ca": "x"}},
            "set an https:// url",
        ),
        (
            {"impressions": {"format": "avro"}, "schema_registry": {"url": "http://r:1", "username": {"value": "x"}}},
            "wanted `username` and `password` together",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused_by_the_file(parts: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        pipeline(**parts)
