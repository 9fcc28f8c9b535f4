"""Open Inference Protocol v2, by requests written by hand over a real socket."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest

from infra.object_store import open_store
from tests.serving.conftest import Replica, Served, build_replica
from tests.serving.model import FIELDS, Columns, Model, make_columns, make_pipeline

TOLERANCE = 2e-6
DATATYPES = {"string": "BYTES", "integer": "INT64", "number": "FP64", "boolean": "BOOL"}


def padded(rows: list[Any]) -> list[list[Any]]:
    width = max(len(row or []) for row in rows)
    return [[*(row or []), *[None] * (width - len(row or []))] for row in rows]


def request(columns: Columns, **more: Any) -> dict[str, Any]:
    inputs = []
    for name, values in columns.items():
        kind = FIELDS[name]
        if kind.startswith("list["):
            data: list[Any] = padded(values)
            shape = [len(values), len(data[0])]
            datatype = DATATYPES[kind[5:-1]]
        else:
            data, shape, datatype = values, [len(values)], DATATYPES[kind]
        inputs.append({"name": name, "datatype": datatype, "shape": shape, "data": data})
    return {"inputs": inputs, **more}


def binary(columns: Columns, header: dict[str, Any] | None = None, wide: bool = False) -> tuple[bytes, dict[str, str]]:
    """The same request as binary tensors, integers of 4 or 8 bytes; the columns must hold no null."""
    inputs: list[dict[str, Any]] = []
    tail = b""
    for name, values in columns.items():
        kind = FIELDS[name].removeprefix("list[").removesuffix("]")
        array = np.array(values, dtype=object if kind == "string" else None)
        if kind == "string":
            data = b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in array.ravel())
            datatype = "BYTES"
        else:
            numpy_type, datatype = {
                "integer": ("<i8", "INT64") if wide else ("<i4", "INT32"),
                "number": ("<f4", "FP32"),
                "boolean": ("?", "BOOL"),
            }[kind]
            data = array.astype(numpy_type).tobytes()
        shape = list(array.shape)
        parameters = {"binary_data_size": len(data)}
        inputs.append({"name": name, "datatype": datatype, "shape": shape, "parameters": parameters})
        tail += data
    head = json.dumps({"inputs": inputs, **(header or {})}).encode()
    return head + tail, {
        "Inference-Header-Content-Length": str(len(head)),
        "Content-Type": "application/octet-stream",
    }


def full_columns(rows: int) -> Columns:
    """Columns without nulls, and lists of one length."""
    return {
        "user": [f"user-{row}" for row in range(rows)],
        "item": list(range(-2, rows - 2)),
        "genres": [["g1", "gé"] for _ in range(rows)],
        "tags": [[row, 3, 4] for row in range(rows)],
        "price": [row * 0.5 for row in range(rows)],
        "age": [20.0 + row for row in range(rows)],
        "member": [row % 2 == 0 for row in range(rows)],
    }


def test_server_and_health(served: Served) -> None:
    assert served.client.get("/v2").json() == {
        "name": "springtide",
        "version": "test",
        "extensions": ["binary_tensor_data"],
    }
    assert served.client.get("/v2/health/live").json() == {"live": True}
    assert served.client.get("/v2/health/ready").json() == {"ready": True}


def test_model_metadata(served: Served) -> None:
    for path in ("/v2/models/demo", "/v2/models/demo/versions/2"):
        response = served.client.get(path)
        body = response.json()
        assert response.headers["X-Springtide-Version"] == "2"
        assert (body["name"], body["versions"]) == ("demo", ["2"])
        assert body["inputs"][0] == {"name": "user", "datatype": "BYTES", "shape": [-1]}
        assert {"name": "tags", "datatype": "INT64", "shape": [-1, -1]} in body["inputs"]
        assert body["outputs"] == [{"name": "click", "datatype": "FP32", "shape": [-1]}]
    assert served.client.get("/v2/models/demo/ready").json() == {"name": "demo", "ready": True}
    assert served.client.get("/v2/models/demo/versions/2/ready").status_code == 200


def test_infer_answers_the_model_and_names_its_version(served: Served) -> None:
    columns = make_columns(20, seed=21)
    response = served.client.post("/v2/models/demo/infer", json=request(columns, id="a-1"))
    assert response.status_code == 200, response.text
    assert response.headers["X-Springtide-Version"] == "2"
    body = response.json()
    assert (body["model_name"], body["model_version"], body["id"]) == ("demo", "2", "a-1")
    (output,) = body["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("click", "FP32", [20])
    np.testing.assert_allclose(output["data"], served.model.expected(columns)[:, 0], rtol=0, atol=TOLERANCE)


def test_infer_of_the_served_version_by_number(served: Served) -> None:
    body = request(make_columns(3))
    assert served.client.post("/v2/models/demo/versions/2/infer", json=body).status_code == 200
    gone = served.client.post("/v2/models/demo/versions/1/infer", json=body)
    assert gone.status_code == 404
    assert gone.json() == {"error": "version 1 is not served; wanted version 2, or none"}


def test_flat_data_and_column_vectors(served: Served) -> None:
    columns = full_columns(4)
    plain = served.client.post("/v2/models/demo/infer", json=request(columns)).json()["outputs"]
    other = request(columns)
    for entry in other["inputs"]:
        if len(entry["shape"]) == 1:
            entry["shape"].append(1)
            entry["data"] = [[value] for value in entry["data"]]
        else:
            entry["data"] = [value for row in entry["data"] for value in row]
    assert served.client.post("/v2/models/demo/infer", json=other).json()["outputs"] == plain


def test_binary_tensors_in_and_out(served: Served) -> None:
    columns = full_columns(5)
    wanted = served.client.post("/v2/models/demo/infer", json=request(columns)).json()["outputs"][0]["data"]
    content, headers = binary(columns)
    assert served.client.post("/v2/models/demo/infer", content=content, headers=headers).json()["outputs"][0][
        "data"
    ] == pytest.approx(wanted)
    content, headers = binary(columns, {"parameters": {"binary_data_output": True}, "id": "b"})
    response = served.client.post("/v2/models/demo/infer", content=content, headers=headers)
    length = int(response.headers["Inference-Header-Content-Length"])
    head = json.loads(response.content[:length])
    assert head["id"] == "b"
    assert head["outputs"] == [
        {"name": "click", "datatype": "FP32", "shape": [5], "parameters": {"binary_data_size": 20}}
    ]
    assert np.frombuffer(response.content[length:], "<f4").tolist() == pytest.approx(wanted)


def test_requests_of_one_form_are_each_read_for_themselves(served: Served) -> None:
    """The JSON part is the same each time, and is known after the first; the tensors are not."""
    for seed in range(3):
        columns = full_columns(5)
        columns["item"] = [seed * 10 + row for row in range(5)]
        wanted = served.client.post("/v2/models/demo/infer", json=request(columns)).json()["outputs"][0]["data"]
        for wide in (False, True):  # integers of 8 bytes are taken where they lie, narrower ones are converted
            content, headers = binary(columns, wide=wide)
            answer = served.client.post("/v2/models/demo/infer", content=content, headers=headers)
            assert answer.json()["outputs"][0]["data"] == pytest.approx(wanted)
    content, headers = binary(columns)
    short = served.client.post("/v2/models/demo/infer", content=content[:-1], headers=headers)
    assert (short.status_code, "binary bytes left" in short.text) == (400, True)
    long = served.client.post("/v2/models/demo/infer", content=content + b"!", headers=headers)
    assert (long.status_code, "1 binary bytes belong to no input" in long.text) == (400, True)


def test_outputs_as_asked(tmp_path_factory: pytest.TempPathFactory) -> None:
    pipeline = make_pipeline(tmp_path_factory.mktemp("labels").as_uri())
    two = pipeline.model_copy(
        update={
            "events": pipeline.events.model_copy(
                update={
                    "feedback": (
                        *pipeline.events.feedback,
                        pipeline.events.feedback[0].model_copy(update={"name": "buy"}),
                    )
                }
            )
        }
    )
    store = open_store(two.store)
    model = Model(two, store)
    model.commit()
    replica = build_replica(two, store)
    try:
        replica.following.step()
        columns = full_columns(3)
        wanted = model.expected(columns)
        body = request(columns, outputs=[{"name": "buy"}, {"name": "click"}])
        first, second = replica.client.post("/v2/models/demo/infer", json=body).json()["outputs"]
        assert (first["name"], second["name"]) == ("buy", "click")
        np.testing.assert_allclose(first["data"], wanted[:, 1], rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(second["data"], wanted[:, 0], rtol=0, atol=TOLERANCE)
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        answers = replica.client.post("/v1/models/demo:predict", json={"instances": rows}).json()["predictions"]
        assert [answer["buy"] for answer in answers] == pytest.approx(first["data"])
        answer = replica.client.post("/v1/models/demo:predict", json={"inputs": columns}).json()["outputs"]
        assert answer["click"] == pytest.approx(second["data"])
    finally:
        replica.close()


def test_before_the_first_version(replica: Replica) -> None:
    client = replica.client
    assert client.get("/v2/health/live").status_code == 200
    for response in (
        client.get("/v2/health/ready"),
        client.get("/v2/models/demo"),
        client.get("/v2/models/demo/ready"),
        client.get("/v1/models/demo"),
        client.post("/v2/models/demo/infer", json=request(full_columns(1))),
    ):
        assert response.status_code == 503
        assert "no version applied yet" in response.json()["error"]
