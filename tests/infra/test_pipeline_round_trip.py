"""What is written is what is read, and the schema names every key; knows only the file's door and the spec."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from infra import spec
from infra.pipeline_file import dump_pipeline, parse_pipeline, pipeline_schema
from infra.spec_part import LocatedErrors
from infra.units import Duration
from tests.infra.pipelines import GOOD

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name not in spec.RESERVED_FIELDS and not name.startswith("label_") and name not in {"id", "ts"}
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
SPANS = st.builds(
    lambda number, unit: Duration(f"{number}{unit}"), st.integers(1, 99), st.sampled_from(["s", "m", "h"])
)
SECRETS = st.one_of(
    st.builds(lambda name: spec.Secret(env=name), TEXTS),
    st.builds(lambda name: spec.Secret(file=name), TEXTS),
    st.builds(lambda value: spec.Secret(value=value), TEXTS),
)
TYPES = {"id": ["string", "integer", "list[string]", "list[integer]"], "number": ["integer", "number", "boolean"]}


@st.composite
def pipelines(draw: st.DrawFn) -> spec.Pipeline:
    """Any pipeline whose parts fit together."""
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    fields, features, tables = [], [], []
    for name in names:
        kind = draw(st.sampled_from(["id", "number"]))
        fields.append(spec.EventField(name=name, type=draw(st.sampled_from(TYPES[kind]))))
        if kind == "number":
            features.append(spec.NumberFeature(name=name, source=name, scaling=draw(st.sampled_from(["none", "log"]))))
        else:
            features.append(spec.IdFeature(name=name, source=name, table=name))  # type: ignore[arg-type]
            tables.append(spec.Table(name=name, dim=1))
    access, secret = draw(st.none() | SECRETS), draw(SECRETS)
    return spec.Pipeline(
        name=draw(st.from_regex(r"[a-z][a-z0-9_-]{0,9}", fullmatch=True)),
        kafka=spec.Kafka(bootstrap=draw(TEXTS)),
        events=spec.Events(
            impressions=spec.Impressions(topic="shown", key="id", time="ts", fields=tuple(fields)),
            feedback=(spec.Feedback(name=draw(NAMES.filter("impressions".__ne__)), topic="0", key="id", time="ts"),),
        ),
        join=spec.Join(window=Duration("1m"), correction_window=Duration("90m"), skew=draw(SPANS)),
        features=tuple(features),
        tables=tuple(tables),
        model=spec.Model(
            name="lr",
            hidden=tuple(draw(st.lists(st.integers(1, 512), max_size=3))),
            optimizer=spec.DenseOptimizer(kind=draw(st.sampled_from(["adam", "adagrad"]))),
        ),
        learner=spec.Learner(seed=draw(st.integers(-(2**63), 2**63 - 1)), commit_interval=draw(SPANS)),
        store=spec.Store(url="s3://bucket/prefix", access_key=access, secret_key=secret if access else None),
        probe=spec.Probe(enabled=draw(st.booleans()), weight=draw(st.floats(0, 10))),
    )


@settings(max_examples=60, deadline=None)
@given(pipelines())
def test_what_is_written_is_read_back_equal(pipeline: spec.Pipeline) -> None:
    assert parse_pipeline(dump_pipeline(pipeline)) == pipeline


@pytest.mark.parametrize("weight", [1e16, 1e-7, 0.5, 1e300])
def test_readers_of_yaml_1_1_take_a_float_for_one(weight: float) -> None:
    """Helm and Kubernetes read that; there 1e+16 without a point would be text."""
    pipeline = parse_pipeline(GOOD).model_copy(update={"probe": spec.Probe(weight=weight)})
    read = yaml.load(dump_pipeline(pipeline), yaml.CSafeLoader)
    assert read["probe"]["weight"] == weight


def test_defaults_are_left_out_and_the_rest_reads_like_a_hand_wrote_it() -> None:
    written = dump_pipeline(parse_pipeline(GOOD))
    assert written.startswith("name: demo\nkafka:\n  bootstrap: 127.0.0.1:9092\nevents:\n  impressions:\n")
    assert "      - name: tags\n        type: list[string]\n" in written
    assert "beta1" not in written and "path_style" not in written


def test_integers_that_readers_would_round_are_written_as_text() -> None:
    pipeline = parse_pipeline(GOOD)
    large = pipeline.model_copy(update={"learner": spec.Learner(seed=(1 << 53) + 1)})
    assert "seed: '9007199254740993'" in dump_pipeline(large)
    assert parse_pipeline(dump_pipeline(large)).learner.seed == 9007199254740993


def test_what_helm_makes_of_numbers_is_understood() -> None:
    text = GOOD.replace("port: 8600", "port: 8.6e+03, max_batch: 1024.0")
    learner = parse_pipeline(text).learner
    assert (learner.port, learner.max_batch) == (8600, 1024)


def test_naming_one_setting_of_the_dense_optimizer_keeps_its_other_defaults() -> None:
    text = GOOD.replace("name: deepfm, ", "name: deepfm, optimizer: {kind: adam}, ")
    assert parse_pipeline(text).model.optimizer == spec.DenseOptimizer(kind="adam")
    assert spec.DenseOptimizer().learning_rate != spec.Optimizer().learning_rate


def test_a_pipeline_built_in_python_is_held_to_the_same_rules() -> None:
    pipeline = parse_pipeline(GOOD)
    with pytest.raises(ValueError, match=r"tables\.0\.dim: got 8; model `lr` wants 1") as caught:
        spec.Pipeline.model_validate(pipeline.model_dump() | {"model": {"name": "lr"}})
    assert isinstance(caught.value.errors()[0]["ctx"]["error"], LocatedErrors)  # type: ignore[attr-defined]


def parts(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for part in model.__subclasses__():
        yield from parts(part)


def test_the_schema_names_every_key_and_refuses_others() -> None:
    schema = pipeline_schema()
    named: dict[str, Any] = {"Pipeline": schema, **schema["$defs"]}
    for part in parts(spec.Part):
        if part.__name__ in named:
            assert named[part.__name__]["properties"].keys() == part.model_fields.keys(), part
            assert named[part.__name__]["additionalProperties"] is False, part
    assert {"Kafka", "Join", "IdFeature", "NumberFeature", "Table", "Store"} <= named.keys()
    assert schema["$defs"]["Join"]["properties"]["window"]["pattern"].endswith("(ms|s|m|h|d)$")
