"""TensorFlow Serving's REST predict, by requests written by hand over a real socket."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from tests.serving.conftest import Served
from tests.serving.model import Columns, make_columns

TOLERANCE = 2e-6
PREDICT = "/v1/models/demo:predict"


def instances(columns: Columns) -> list[dict[str, object]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def test_row_format(served: Served) -> None:
    columns = make_columns(25, seed=31)
    response = served.client.post(PREDICT, json={"signature_name": "serving_default", "instances": instances(columns)})
    assert response.status_code == 200, response.text
    assert response.headers["X-Springtide-Version"] == "2"
    assert response.json().keys() == {"predictions"}
    np.testing.assert_allclose(
        response.json()["predictions"], served.model.expected(columns)[:, 0], rtol=0, atol=TOLERANCE
    )


def test_column_format(served: Served) -> None:
    columns = make_columns(25, seed=32)
    response = served.client.post("/v1/models/demo/versions/2:predict", json={"inputs": columns})
    assert response.json().keys() == {"outputs"}
    np.testing.assert_allclose(response.json()["outputs"], served.model.expected(columns)[:, 0], rtol=0, atol=TOLERANCE)


def test_as_curl_sends_it(served: Served) -> None:
    body = json.dumps({"inputs": make_columns(2)})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert served.client.post(PREDICT, content=body, headers=headers).status_code == 200


def test_vectors_of_one_and_base64_texts(served: Served) -> None:
    columns = make_columns(6, seed=33)
    wanted = served.client.post(PREDICT, json={"inputs": columns}).json()["outputs"]
    other: dict[str, list[Any]] = {
        name: [value if isinstance(value, list) else [value] for value in cells] for name, cells in columns.items()
    }
    other["user"] = [
        None if user is None else {"b64": base64.b64encode(user.encode()).decode()} for user in columns["user"]
    ]
    other["genres"], other["tags"] = columns["genres"], columns["tags"]
    assert served.client.post(PREDICT, json={"inputs": other}).json()["outputs"] == wanted


def test_status(served: Served) -> None:
    available = {"version": "2", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("/v1/models/demo", "/v1/models/demo/versions/2"):
        assert served.client.get(path).json() == {"model_version_status": [available]}
    assert served.client.get("/v1/models/demo/versions/3").status_code == 404


def test_metadata(served: Served) -> None:
    body = served.client.get("/v1/models/demo/metadata").json()
    assert body["model_spec"] == {"name": "demo", "signature_name": "", "version": "2"}
    definition = body["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert definition["method_name"] == "tensorflow/serving/predict"
    assert {name: entry["dtype"] for name, entry in definition["inputs"].items()} == {
        "user": "DT_STRING",
        "item": "DT_INT64",
        "genres": "DT_STRING",
        "tags": "DT_INT64",
        "price": "DT_DOUBLE",
        "age": "DT_DOUBLE",
        "member": "DT_BOOL",
    }
    assert definition["outputs"]["click"]["dtype"] == "DT_FLOAT"


@pytest.mark.parametrize("verb", ["classify", "regress", "explain"])
def test_other_verbs(served: Served, verb: str) -> None:
    response = served.client.post(f"/v1/models/demo:{verb}", json={"instances": []})
    assert response.status_code in (404, 405)
    assert verb in response.json()["error"]
