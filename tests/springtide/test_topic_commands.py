"""What the commands say of schemas and topics: `doctor` holds a schema against the pipeline, `join` prints topics."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.errors import Invalid
from infra.pipeline_file import dump_pipeline
from springtide import doctor
from springtide.cli import app
from streaming import topics
from tests.streaming.pipelines import pipeline
from tests.streaming.registry_server import RegistryServer
from tests.streaming.test_schema_check import avro, changed


def test_doctor_names_the_field_that_a_schema_lacks() -> None:
    with RegistryServer(login="springtide:s3cret") as registry:
        registry.register("model.impressions-value", changed())
        (finding,) = doctor._schemas(avro(registry))
        assert (finding.state, finding.subject) == ("ok", "schema")
        registry.register("model.impressions-value", changed(price="string"))
        with pytest.raises(Invalid, match="version 2: `price` is string"):
            list(doctor._schemas(avro(registry)))


def test_the_commands_for_topics_are_printed(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(dump_pipeline(pipeline(samples={"partitions": 6, "replication": 3, "retention": "2d"})))
    result = CliRunner().invoke(app, ["join", str(path), "--print-topics"])
    assert result.exit_code == 0, result.output
    lines = [shlex.split(line) for line in result.output.splitlines()]
    assert [words[words.index("--topic") + 1] for words in lines] == [
        each.name for each in topics.own_topics(pipeline())
    ]
    assert " ".join(lines[0]) == (
        "kafka-topics.sh --bootstrap-server 127.0.0.1:9 --create --if-not-exists --topic springtide.model.samples"
        " --partitions 6 --replication-factor 3 --config cleanup.policy=delete --config retention.ms=172800000"
        " --config max.message.bytes=16777216"
    )
