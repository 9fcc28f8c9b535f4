"""A manifest survives its JSON, keeps to its schema, and says what is wrong with a content."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from checkpointing import layout, paths, schema
from checkpointing.content import Content
from checkpointing.hash_order import mix64
from checkpointing.manifest import Gate, Graph, Manifest, Position, Timeline
from checkpointing.writer import Writer
from infra.errors import Invalid
from infra.object_store import ObjectStore
from tests.checkpointing.golden import expected
from tests.checkpointing.reference import TOPIC, content
from tests.checkpointing.stepping_clock import SteppingClock

DOCUMENT = Path(__file__).resolve().parents[2] / "checkpointing" / "FORMAT.md"
GOLDEN = Path(__file__).parent / "golden" / "format-2"


def test_the_schema_file_is_that_of_the_code() -> None:
    assert schema.FILE.read_bytes() == schema.text(), "run python -m checkpointing.schema"


def test_everything_written_keeps_to_the_schema(memory: ObjectStore, writer: Writer) -> None:
    validators: Any = importlib.import_module("jsonschema")
    writer.commit(expected.first(writer.put_graph(expected.GRAPH, weights=list(expected.DENSE), labels=["click"])))
    writer.heartbeat()
    validator = validators.Draft202012Validator(orjson.loads(schema.FILE.read_bytes()))
    golden = [path.read_bytes() for path in sorted((GOLDEN / "manifests").iterdir())]
    for data in [memory.get(key) for key in memory.list(paths.MANIFESTS)] + golden:
        document = orjson.loads(data)
        validator.validate(document)
        for field in document.keys() - schema.LATER:
            assert not validator.is_valid({name: value for name, value in document.items() if name != field})


def test_json_round_trip_is_exact(memory: ObjectStore, writer: Writer) -> None:
    graph = writer.put_graph(expected.GRAPH, weights=list(expected.DENSE), labels=["click"])
    manifest = writer.commit(expected.first(graph))
    data = memory.get(paths.manifest_key(2))
    assert Manifest.from_json(data) == manifest
    assert Manifest.from_json(data).to_json() == data
    assert re.fullmatch(rb'.*,"sha256":"[0-9a-f]{64}"\}', data)


def test_facts_arrive_in_the_manifest(writer: Writer, clock: SteppingClock) -> None:
    graph = writer.put_graph(expected.GRAPH, weights=list(expected.DENSE), labels=["click"])
    clock.seconds = 5
    manifest = writer.commit(expected.first(graph))
    assert manifest.batches == (((0, 0, 2),), ((0, 2, 3),))
    assert manifest.metrics == {"1700000000000": {"samples": 3, "log_loss_sum": 0.75}}
    assert manifest.timeline == Timeline(
        received_ts=1, sampled_ts=2, trained_ts=3, captured_ts=4, committed_ts=clock.now_ms()
    )
    assert manifest.created_ts == clock.now_ms()
    assert manifest.probes[0].id == "__probe-1" and manifest.label_histogram == {"edges": [0, 1], "counts": [2, 1]}
    assert manifest.graph == graph and manifest.feature_spec_hash == "features-1"
    idle = writer.heartbeat()
    assert idle.timeline == Timeline() and idle.positions == manifest.positions
    assert (idle.learned_through, idle.newest_known_ts) == (manifest.learned_through, manifest.newest_known_ts)
    assert idle.gate == Gate(servable=False, reasons=("heartbeat",))


def test_numpy_numbers_and_nan_become_plain_json(writer: Writer) -> None:
    numbers = {"a": np.float32(0.5), "b": np.int64(3), "c": float("nan"), "d": np.array([1, 2])}
    manifest = writer.commit(content(offset=1, metrics=numbers, environment={"x": float("inf")}))
    assert manifest.metrics == {"a": 0.5, "b": 3, "c": None, "d": [1, 2]}
    assert manifest.environment == {"x": None}


WRONG: dict[str, dict[str, Any]] = {
    "metrics cannot be written": {"metrics": {"a": object()}},
    "batches.0.0.1|run in batches": {"batches": [[(0, 5, 4)]]},
    "a heartbeat has rows": {"kind": "heartbeat", "dense": {"w": np.ones(1)}},
    "the graph's weights are": {
        "graph": Graph(key=paths.graph_key("0" * 64, 1, "0" * 32), bytes=1, sha256="0" * 64, weights=("a",), labels=()),
        "dense": {"b": np.ones(1)},
    },
    "at most": {"environment": {"a": "x" * (17 << 20)}},
    "learned_through": {"learned_through": 2**63},
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_content_is_refused_and_the_next_one_commits(writer: Writer, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        writer.commit(content(offset=1, **WRONG[message]))
    assert not writer.pending
    assert writer.commit(content({1: 1}, offset=1)).version == 2


def test_no_partition_is_forgotten(writer: Writer) -> None:
    both = [Position(topic=TOPIC, partition=partition, next_offset=1) for partition in range(2)]
    writer.commit(Content(positions=both))
    with pytest.raises(Invalid, match=r"positions lack samples\[1\]"):
        writer.commit(Content(positions=both[:1]))
    new = Position(topic=TOPIC, partition=2, next_offset=0)
    assert len(writer.commit(Content(positions=[*both, new])).positions) == 3


# FORMAT.md against the code


def test_the_documents_vectors_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (-?[0-9]+) \| `0x([0-9a-f]{16})` \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == 10
    keys = np.array([int(key) for key, _ in rows], dtype=np.int64)
    assert [f"{int(value):016x}" for value in mix64(keys)] == [value for _, value in rows]


def test_mix64_equals_its_definition_in_plain_integers() -> None:
    def plain(key: int) -> int:
        x = key % 2**64
        for _ in range(2):
            x ^= x >> 32
            x = x * 0xD6E8FEB86659FD93 % 2**64
        return x ^ x >> 32

    keys = np.random.default_rng(7).integers(-(2**63), 2**63 - 1, 1000)
    assert mix64(keys).tolist() == [plain(int(key)) for key in keys]


def test_the_documents_example_is_the_golden_manifest() -> None:
    example = re.search(r"```json\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    data = (GOLDEN / "manifests" / "00000000000000000004.json").read_bytes()
    assert orjson.loads(example[1]) == orjson.loads(data)


def test_the_documents_names_are_those_of_the_code() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for name in [*Manifest.model_fields, *layout.ROLE_CODES, *layout.ITEM_BYTES]:
        assert f"`{name}`" in text, name
    for role, code in layout.ROLE_CODES.items():
        assert f"{code} `{role}`" in text
    assert paths.manifest_key(42) == "manifests/00000000000000000042.json"
    assert paths.pack_key(42, 3, "0" * 32, "pack") == f"versions/42/3-{'0' * 32}/pack"
