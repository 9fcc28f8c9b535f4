"""What the generator makes of a pipeline, without a JVM: secrets, hashes, and what it refuses."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json
import pytest

from infra.errors import Invalid
from streaming import sample, sql, topics
from tests.streaming.pipelines import pipeline

SASL = {
    "bootstrap": "b:1",
    "security": "sasl_ssl",
    "sasl": {"username": {"value": "o'hara"}, "password": {"value": 'pa"ss\\word'}},
}


def test_secrets_reach_the_connector_and_nothing_else() -> None:
    plan = sql.plan(pipeline(kafka=SASL))
    tables = [text for text in plan.definitions if "'connector' = 'kafka'" in text]
    assert len(tables) == 5
    for table in tables:
        assert 'username="o\'\'hara" password="pa\\"ss\\\\word";' in table
        assert "'properties.security.protocol' = 'SASL_SSL'" in table
    assert "word" not in repr(plan)
    assert "word" not in plan.insert


def test_a_new_password_is_no_new_plan() -> None:
    renewed = {**SASL, "sasl": {"username": {"value": "o'hara"}, "password": {"value": "new"}}}
    assert sql.plan(pipeline(kafka=SASL)).job_name == sql.plan(pipeline(kafka=renewed)).job_name


@pytest.mark.parametrize(
    "change",
    [
        {"join": {"window": "9m"}},
        {"join": {"skew": "2s"}},
        {"impressions": {"fields": [{"name": "item"}]}},
        {"feedback": {"topic": "other"}},
        {"probe": {"weight": 0.5}},
        {"flink": {"parallelism": 2}},
    ],
)
def test_whatever_changes_the_output_changes_the_hash(change: dict[str, Any]) -> None:
    assert sql.plan(pipeline(**change)).plan_hash != sql.plan(pipeline()).plan_hash


def test_what_does_not_change_the_output_keeps_the_job() -> None:
    changed = pipeline(learner={"max_batch": 7}, flink={"checkpoint_interval": "3s"}, control={"port": 1})
    assert sql.plan(changed).job_name == sql.plan(pipeline()).job_name


def test_a_cut_over_reads_back_and_is_no_new_plan() -> None:
    """The longest windows together, twice the disorder and the clocks' difference before it."""
    wanted = pipeline(join={"window": "1m", "correction_window": "2m", "out_of_orderness": "5s", "skew": "1s"})
    plan = sql.plan(wanted, cutover_ms=1_700_000_000_000)
    assert plan.job_name == sql.plan(wanted).job_name
    begin = 1_700_000_000_000 - 60_000 - 120_000 - 2 * 6_000 - 60_000
    sources = [text for text in plan.definitions if "'scan.startup.mode'" in text]
    assert len(sources) == 4
    assert all(f"'scan.startup.timestamp-millis' = '{begin}'" in text for text in sources)
    assert "`#known` >= TO_TIMESTAMP_LTZ(CAST(1700000000000 AS BIGINT), 3)" in plan.insert


def test_exactly_once_names_its_transactions_after_the_plan_and_leaves_none_open_for_long() -> None:
    wanted = pipeline(samples={"delivery": "exactly_once"})
    plan = sql.plan(wanted)
    sink = plan.definitions[-1]
    assert f"'sink.transactional-id-prefix' = 'springtide.model.{plan.plan_hash}'" in sink
    assert "'sink.transaction-naming-strategy' = 'POOLING'" in sink
    assert "'properties.transaction.timeout.ms' = '900000'" in sink
    assert plan.plan_hash != sql.plan(pipeline()).plan_hash


def test_certificates_travel_by_content(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----")
    kafka = {"bootstrap": "b:1", "security": "ssl", "tls": {"ca": str(tmp_path / "ca.pem")}}
    definitions = sql.plan(pipeline(kafka=kafka)).definitions
    assert "'properties.ssl.truststore.certificates' = '-----BEGIN CERTIFICATE-----'" in "".join(definitions)
    with pytest.raises(Invalid, match=r"kafka\.tls\.ca"):
        sql.plan(pipeline(kafka={**kafka, "tls": {"ca": str(tmp_path / "gone.pem")}}))


def test_one_attribute_may_be_several_columns() -> None:
    """The time, the key and a part of an object are features too, each with a type of its own."""
    fields = [
        {"name": "ts"},
        {"name": "id", "type": "integer"},
        {"name": "user"},
        {"name": "city", "path": "user.city"},
    ]
    features = [{"name": name, "source": name, "table": "items"} for name in ("ts", "id")]
    wanted = pipeline(impressions={"fields": fields, "weight": "id"}, features=features)
    table = next(text for text in sql.plan(wanted).definitions if "`impressions events`" in text)
    for column in ("`#ts` TIMESTAMP_LTZ(3)", "`ts` STRING", "`#key` STRING", "`id` BIGINT", "`#weight` DOUBLE"):
        assert f"  {column}," in table
    assert '"city": ["user.city", "STRING"]' in table and '"user": ["user", "STRING"]' in table


def test_own_topics_have_the_partitions_and_the_retention_asked_for() -> None:
    wanted = pipeline(samples={"partitions": 6, "replication": 3, "retention": "2d"})
    found = {topic.name: topic for topic in topics.own_topics(wanted)}
    assert list(found) == [
        "springtide.model.samples",
        "springtide.model.late",
        "springtide.model.dead",
        "springtide.model.heartbeat.impressions",
        "springtide.model.heartbeat.click",
    ]
    samples = found["springtide.model.samples"]
    assert (samples.partitions, samples.replication, samples.retention_ms) == (6, 3, 172_800_000)
    assert {topic.partitions for name, topic in found.items() if name != samples.name} == {1}


def test_the_learner_decodes_by_the_same_columns() -> None:
    schema = sample.sample_schema(pipeline().events)
    assert schema.names[:8] == [
        "sample_id",
        "kind",
        "label_click",
        "impression_ts",
        "received_ts",
        "known_ts",
        "weight",
        "down_sampling_rate",
    ]
    line = (
        b'{"sample_id":"a#click.0","label_click":null,"impression_ts":"2026-01-01T00:00:05.000Z","weight":1,'
        b'"counts":[9007199254740993],"price":2}\n'
    )
    options = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    table = pyarrow.json.read_json(pa.BufferReader(line), parse_options=options)
    row = table.select(["label_click", "weight", "counts", "price", "tags"]).to_pylist()[0]
    assert row == {"label_click": None, "weight": 1.0, "counts": [2**53 + 1], "price": 2.0, "tags": None}
    assert sample.sample_id("a", "click", sample.VERDICT) == "a#click.0"


@pytest.mark.parametrize(
    ("repeat_window", "minutes"),
    [("3h", 180), ("1h", 60), ("1m", 2 * (3 + 1))],  # twice what a cut-over reads: both windows, and 60 s of the future
)
def test_a_key_is_remembered_as_long_as_repeats_and_cut_overs_want(repeat_window: str, minutes: int) -> None:
    join = {"window": "1m", "correction_window": "2m", "out_of_orderness": "0s", "skew": "0s"}
    plan = sql.plan(pipeline(join=join | {"repeat_window": repeat_window}))
    assert plan.settings["table.exec.state.ttl"] == f"{minutes * 60_000} ms"
    assert plan.plan_hash == sql.plan(pipeline(join=join)).plan_hash


def test_a_kind_may_be_behind_the_others_by_the_longest_correction_window() -> None:
    """The windows of each kind count, not those of `join` alone."""
    join = {"window": "1m", "correction_window": "2m", "out_of_orderness": "5s", "idle_timeout": "7s"}
    kind = {"window": "1h", "correction_window": "10h"}
    tables = sql.plan(pipeline(join=join, feedback=kind)).definitions
    drift = f"'scan.watermark.alignment.max-drift' = '{36_000_000 + 5_000 + 7_000} ms'"
    assert sum(drift in text for text in tables) == 2


def test_the_login_of_a_registry_stands_under_a_name_that_flink_masks() -> None:
    login = {"url": "http://r", "username": {"value": "ann"}, "password": {"value": "s3cret"}}
    tables = sql.plan(pipeline(schema_registry=login, feedback={"format": "avro"})).definitions
    assert any("'springtide.registry.basic-auth' = 'Basic YW5uOnMzY3JldA=='" in text for text in tables)


@pytest.mark.parametrize(
    ("out_of_orderness", "step"),
    [("30s", 100), ("2s", 100), ("1999ms", 50), ("300ms", 10), ("40ms", 2), ("39ms", None)],
)
def test_event_time_moves_in_steps_of_a_twentieth_of_the_disorder(out_of_orderness: str, step: int | None) -> None:
    join = {"out_of_orderness": out_of_orderness}
    marks = [text.partition("WATERMARK FOR")[2] for text in sql.plan(pipeline(join=join)).definitions]
    found = [text for text in marks if text]
    assert len(found) == 4
    assert all((f", {step}) AS INT)" in text) if step else "MOD(" not in text for text in found)
