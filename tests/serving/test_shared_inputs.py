"""What all candidates share is sent once, in every protocol, and scored as if it were sent with each of them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pyarrow as pa
import pytest

from infra.errors import Invalid
from infra.object_store import open_store
from serving.refusals import Refused
from serving.signature import Column, Signature
from tests.serving.conftest import Served, build_replica
from tests.serving.model import Columns, Model, make_columns, make_pipeline

ROWS = 9
USER: Columns = {"user": ["user-3"], "genres": [["g1", "g4"]], "age": [33.0], "member": [True]}


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A replica whose pipeline says what requests share, so that its first layer is split."""
    folder = tmp_path_factory.mktemp("split")
    serving = {"max_candidates": 64, "user_fields": list(USER)}
    pipeline = make_pipeline(folder.as_uri(), serving=serving)
    store = open_store(pipeline.store)
    model = Model(pipeline, store)
    model.commit()
    replica = build_replica(pipeline, store)
    replica.following.step()
    yield Served(model, replica)
    replica.close()


def candidates() -> Columns:
    return {name: values for name, values in make_columns(ROWS, seed=4).items() if name not in USER}


def whole(shared: Columns = USER) -> Columns:
    return candidates() | {name: values * ROWS for name, values in shared.items()}


def v1(client: httpx.Client, body: Any) -> httpx.Response:
    return client.post("/v1/models/demo:predict", content=orjson.dumps(body))


def check(got: Any, served: Served, columns: Columns) -> None:
    np.testing.assert_allclose(got, served.model.expected(columns)[:, 0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["directly", "by_framework", "split"])
def test_v1_in_both_formats(name: str, request: pytest.FixtureRequest) -> None:
    served: Served = request.getfixturevalue(name)
    shared = {name: values[0] for name, values in USER.items()}
    own = candidates()
    rows = [dict(zip(own, row, strict=True)) for row in zip(*own.values(), strict=True)]
    answer = v1(served.client, {"instances": rows, "shared": shared})
    check(answer.json()["predictions"], served, whole())
    answer = v1(served.client, {"inputs": own, "shared": shared})
    check(answer.json()["outputs"], served, whole())


@pytest.mark.parametrize("name", ["directly", "by_framework", "split"])
def test_v2(name: str, request: pytest.FixtureRequest) -> None:
    served: Served = request.getfixturevalue(name)
    kinds = {"user": "BYTES", "item": "INT64", "price": "FP64", "age": "FP64", "member": "BOOL"}
    own = candidates()
    tags = [(row or [])[:1] + [None] * (1 - len((row or [])[:1])) for row in own["tags"]]
    inputs: list[dict[str, Any]] = [
        {"name": name, "datatype": kinds[name], "shape": [ROWS], "data": own[name]} for name in ("item", "price")
    ]
    inputs.append({"name": "tags", "datatype": "INT64", "shape": [ROWS, 1], "data": tags})
    for name_, values in USER.items():
        nested = name_ == "genres"
        shape = [1, 2] if nested else [1]
        datatype = "BYTES" if nested else kinds[name_]
        inputs.append(
            {"name": name_, "datatype": datatype, "shape": shape, "data": values, "parameters": {"shared": True}}
        )
    answer = served.client.post("/v2/models/demo/infer", content=orjson.dumps({"inputs": inputs}))
    columns = whole() | {"tags": [[tag for tag in row if tag is not None] for row in tags]}
    check(answer.json()["outputs"][0]["data"], served, columns)


def test_some_of_the_users_fields_are_enough_to_be_right(split: Served) -> None:
    shared: Columns = {"user": ["user-1"]}
    own = make_columns(ROWS, seed=4)
    del own["user"]
    answer = v1(split.client, {"inputs": own, "shared": {"user": "user-1"}})
    check(answer.json()["outputs"], split, own | {"user": shared["user"] * ROWS})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"inputs": {}, "shared": []}, "`shared` is []"),
        ({"inputs": {}, "shared": {"usr": 1}}, "nearest is `user`"),
        ({"inputs": {"user": ["a"]}, "shared": {"user": "a"}}, "in `shared`, and in a candidate"),
        ({"instances": [{"user": "a"}], "shared": {"user": "a"}}, "in `shared`, and in a candidate"),
        ({"instances": [{}], "shared": {"user": 5}}, "lacks input"),
        ({"inputs": {}, "shared": dict.fromkeys(make_columns(1))}, "every input is shared"),
    ],
)
def test_v1_refusals(served: Served, body: dict[str, Any], says: str) -> None:
    answer = v1(served.client, body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]


def test_a_shared_input_has_one_row(served: Served) -> None:
    entry = {"name": "user", "datatype": "BYTES", "shape": [2], "data": ["a", "b"], "parameters": {"shared": True}}
    rest = make_columns(2)
    columns = {"item": "INT64", "price": "FP64", "age": "FP64", "member": "BOOL"}
    inputs = [{"name": name, "datatype": kind, "shape": [2], "data": rest[name]} for name, kind in columns.items()]
    lists = {"genres": "BYTES", "tags": "INT64"}
    inputs += [{"name": name, "datatype": kind, "shape": [2, 0], "data": []} for name, kind in lists.items()]
    answer = served.client.post("/v2/models/demo/infer", content=orjson.dumps({"inputs": [entry, *inputs]}))
    assert answer.status_code == 400
    assert "input `user` is shared, but has 2 rows; wanted one row" in answer.json()["error"]


def test_a_user_field_that_no_feature_reads_is_refused(tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path.as_uri(), serving={"user_fields": ["usr"]})
    with pytest.raises(Invalid, match=r"serving\.user_fields: no feature reads `usr`; nearest is `user`"):
        Signature.of(pipeline)


def test_a_shared_list_is_not_longer_than_all_candidates_can_have() -> None:
    signature = Signature("demo", (Column("item", "integer"), Column("tags", "list[integer]")), ("click",), 4096)
    columns = {"item": pa.array(range(4096)), "tags": pa.array([[*range(1024), None]])}
    with pytest.raises(Refused, match=r"`tags` is shared and holds 1025 values, for 4096 candidates") as raised:
        signature.check(columns, frozenset({"tags"}))
    assert raised.value.status == 413
    assert "at most 1024 values for so many candidates" in str(raised.value)
    assert signature.check(columns | {"tags": pa.array([list(range(1024))])}, frozenset({"tags"})) == 4096
    assert signature.check(columns | {"tags": pa.array([None], pa.list_(pa.int64()))}, frozenset({"tags"})) == 4096
