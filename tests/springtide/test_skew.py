"""What a request was answered with is what the learner makes of the same impression later: no skew in any feature."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from infra import spec
from kernels.features import EncodedBatch, RunningStatistics
from learner.decode import SampleDecoder
from serving.layouts import Layouts
from serving.prediction import Question
from serving.protocol_v1 import read_predict
from serving.protocol_v2 import read_infer
from serving.signature import Signature
from springtide.wiring import build_encoder
from streaming.sample import sample_schema
from tests.learner.messages import pipeline, sample

FIELDS: dict[str, spec.FieldType] = {
    "user": "string",
    "item": "integer",
    "price": "number",
    "member": "boolean",
    "tags": "list[string]",
    "seen": "list[integer]",
}
DATATYPES = {"user": "BYTES", "item": "INT64", "price": "FP64", "member": "BOOL", "tags": "BYTES", "seen": "INT64"}
FEATURES: list[dict[str, Any]] = [
    {"name": "user", "source": "user", "table": "t"},
    {"name": "item", "source": "item", "table": "t"},
    {"name": "known_user", "source": "user", "table": "t", "vocabulary": ["a", "b", "ü"]},
    {"name": "known_item", "source": "item", "table": "t", "vocabulary": [0, 7, -1]},
    {"name": "tags", "source": "tags", "table": "shared", "combiner": "sqrtn"},
    {"name": "seen", "source": "seen", "table": "shared", "combiner": "sum"},
    {"name": "history", "source": "seen", "table": "shared", "combiner": "none", "length": 2},
    {"name": "first_tag", "source": "tags", "table": "shared", "combiner": "none", "length": 1, "keep": "first"},
    {"kind": "cross", "name": "user_item", "sources": ["user", "item"], "table": "t"},
    {"kind": "cross", "name": "all", "sources": ["tags", "user", "seen"], "table": "t", "combiner": "sum"},
    {"kind": "bucket", "name": "price_range", "source": "price", "table": "t", "boundaries": [-1, 0, 0.1, 10]},
    {"kind": "bucket", "name": "member_range", "source": "member", "table": "t", "boundaries": [1]},
    {"kind": "number", "name": "price", "source": "price"},
    {"kind": "number", "name": "log_price", "source": "price", "scaling": "log"},
    {"kind": "number", "name": "standard_price", "source": "price", "scaling": "standard"},
    {"kind": "number", "name": "standard_item", "source": "item", "scaling": "standard"},
    {"kind": "number", "name": "member", "source": "member"},
]
events = json.loads(json.dumps(pipeline().model_dump(mode="json")["events"]))
events["impressions"]["fields"] = [{"name": name, "type": kind} for name, kind in FIELDS.items()]
PIPELINE = pipeline(
    events=events,
    features=FEATURES,
    tables=[{"name": "t", "dim": 4}, {"name": "shared", "dim": 4}],
    model={"name": "dcnv2"},
)
SIGNATURE = Signature.of(PIPELINE)
ENCODER = build_encoder(PIPELINE)
DECODER = SampleDecoder(sample_schema(PIPELINE.events), ["label_click"])

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(["a", "b", "ü", "null", "7"])
integers = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 7, -1])
# What float32 cannot hold is refused by a replica; the other odd values pass through both.
numbers = st.floats(-3e38, 3e38) | st.integers(-(2**53), 2**53) | st.sampled_from([-1, 0, -0.0, 0.1, 10, 5e-324])
impressions = st.fixed_dictionaries(
    {
        "user": st.none() | texts,
        "item": st.none() | integers,
        "price": st.none() | numbers,
        "member": st.none() | st.booleans(),
        "tags": st.none() | st.lists(st.none() | texts, max_size=4),
        "seen": st.none() | st.lists(st.none() | integers, max_size=4),
    }
)


def as_sample(number: int, impression: dict[str, Any]) -> bytes:
    """The sample of an impression as the join writes it: what is unknown is null, or absent."""
    frame = {name: value for name, value in sample(number).items() if name not in {"user", "item", "age", "genres"}}
    known = {name: value for name, value in impression.items() if value is not None or number % 2}
    return json.dumps(frame | known, ensure_ascii=bool(number % 3)).encode()


def learned(impressions_: list[dict[str, Any]]) -> EncodedBatch:
    samples, rejected = DECODER.decode([as_sample(number, each) for number, each in enumerate(impressions_)])
    assert rejected == []
    return ENCODER.encode(dict(zip(samples.columns.column_names, samples.columns.columns, strict=True)))


def requests(impressions_: list[dict[str, Any]]) -> dict[str, Question]:
    """The same impressions, asked for in each form that a replica takes."""
    by_column = {name: [each[name] for each in impressions_] for name in FIELDS}
    rows = json.dumps({"instances": impressions_}).encode()
    columns = json.dumps({"inputs": by_column}).encode()
    tensors = json.dumps({"inputs": [tensor(name, values) for name, values in by_column.items()]}).encode()
    return {
        "v1 rows": read_predict(rows, SIGNATURE).question,
        "v1 columns": read_predict(columns, SIGNATURE).question,
        "v2": read_infer(tensors, None, SIGNATURE, Layouts()).question,
    }


def tensor(name: str, values: list[Any]) -> dict[str, Any]:
    """A tensor of version 2: rows of a list column are padded with null to one width."""
    shape, data = [len(values)], values
    if FIELDS[name].startswith("list"):
        width = max(len(value or []) for value in values)
        shape = [len(values), width]
        data = list(
            itertools.chain.from_iterable([*(value or []), *[None] * (width - len(value or []))] for value in values)
        )
    return {"name": name, "datatype": DATATYPES[name], "shape": shape, "data": data}


def assert_same(one: EncodedBatch, other: EncodedBatch, what: str) -> None:
    for feature, mine, theirs in zip(ENCODER.columns, ids_by_row(one), ids_by_row(other), strict=True):
        assert mine == theirs, (what, feature.name)
    np.testing.assert_array_equal(one.numbers.view(np.uint32), other.numbers.view(np.uint32), err_msg=what)


def ids_by_row(batch: EncodedBatch) -> list[list[list[int]]]:
    return [
        [
            ids[row : row + 1].tolist() if splits is None else ids[splits[row] : splits[row + 1]].tolist()
            for row in range(batch.rows)
        ]
        # A batch that is only read may hold ids as Arrow has them.
        for ids, splits in zip((np.frombuffer(each, np.int64) for each in batch.ids), batch.splits, strict=True)
    ]


@settings(max_examples=150, deadline=None)
@given(before=st.lists(impressions, max_size=3), logged=st.lists(impressions, min_size=1, max_size=4))
def test_logged_requests_through_both_sides_give_the_same_features(
    before: list[dict[str, Any]], logged: list[dict[str, Any]]
) -> None:
    statistics = RunningStatistics(ENCODER.features)
    if before:
        statistics.update(learned(before))
    served_by = RunningStatistics.from_state(ENCODER.features, statistics.state())
    wanted = statistics.scale(learned(logged))
    for form, question in requests(logged).items():
        whole = ENCODER.encode(question.arrow(), question.rows)
        to_read = ENCODER.encode_to_read(question.columns, question.rows)
        assert_same(wanted, served_by.scale(whole), form)
        assert_same(wanted, served_by.scale(to_read), f"{form}, to be read")
