"""Every wrong request gets a 4xx that names what was got and what was wanted; none gets a 500."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.conftest import Served
from tests.serving.test_protocol_v2 import binary, full_columns, request

INFER = "/v2/models/demo/infer"
PREDICT = "/v1/models/demo:predict"


def v2(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """A good request with inputs by name, after ``change``."""
    body = request(full_columns(2))
    by_name = {entry["name"]: entry for entry in body["inputs"]}
    change(by_name)
    return {"inputs": list(by_name.values())}


V2_WRONG: list[tuple[Callable[[dict[str, Any]], object], list[str]]] = [
    (lambda i: i.pop("user"), ["missing input `user`"]),
    (lambda i: i["user"].update(name="usr"), ["unknown input 'usr'", "nearest is `user`"]),
    (lambda i: i["user"].update(name=["user"]), ["unknown input ['user']"]),
    (lambda i: i.update(again=copy.deepcopy(i["item"])), ["`item` is given twice"]),
    (lambda i: i["item"].update(datatype="BYTES"), ["`item`", "BYTES", "INT64"]),
    (lambda i: i["item"].update(datatype=None), ["`item`", "None"]),
    (lambda i: i["item"].update(data=[1, "2"]), ["`item`, value 1", "'2'", "integer"]),
    (lambda i: i["item"].update(data=[1, 2.5]), ["`item`, value 1", "2.5"]),
    (lambda i: i["item"].update(data=[1, True]), ["`item`, value 1", "True"]),
    (lambda i: i["item"].update(data=[1, 2**63]), ["`item`"]),
    (lambda i: i["user"].update(data=["a", 7]), ["`user`, value 1", "7", "string"]),
    (lambda i: i["price"].update(data=[1.0, "x"]), ["`price`, value 1", "number"]),
    (lambda i: i["price"].update(data=[1.0, 1e300]), ["`price`", "1e+300", "float32"]),
    (lambda i: i["member"].update(data=[1, 0]), ["`member`, value 0", "boolean"]),
    (lambda i: i["genres"].update(shape=[2]), ["`genres`", "[2]", "[B,n]"]),
    (lambda i: i["genres"].update(data=[["a"], ["b", "c"]]), ["`genres`", "null"]),
    (lambda i: i["tags"].update(data=[[1, 2, 3], 4]), ["`tags`"]),
    (lambda i: i["user"].update(shape=[2, 2]), ["`user`", "[2, 2]"]),
    (lambda i: i["user"].update(shape=[-2]), ["`user`", "[-2]"]),
    (lambda i: i["user"].update(shape="2"), ["`user`", "'2'"]),
    (lambda i: i["user"].update(shape=[3]), ["`user` has 2 values", "3 of [3]"]),
    (lambda i: i["user"].update(shape=[1], data=["a"]), ["has 2 rows", "has 1"]),
    (lambda i: i["user"].update(data="ab"), ["`user`", "an array"]),
    (lambda i: i["user"].pop("data"), ["`user`", "an array"]),
    (lambda i: i["user"].update(parameters=[]), ["parameters"]),
    (lambda i: i["user"].update(parameters={"binary_data_size": 4}), ["both"]),
    (lambda i: i.update(more=7), ["an input is 7"]),
]


@pytest.mark.parametrize(("change", "told"), V2_WRONG)
def test_wrong_v2_input(served: Served, change: Callable[[dict[str, Any]], object], told: list[str]) -> None:
    response = served.client.post(INFER, json=v2(change))
    assert response.status_code == 400, response.text
    for part in told:
        assert part in response.json()["error"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "`inputs` is None"),
        ({"inputs": {}}, "a list of tensors"),
        ([], "a JSON object"),
        ({"inputs": [], "id": 7}, "`id` is 7"),
        ({"inputs": []}, "missing input `user`"),
        ({**request(full_columns(1)), "outputs": [{"name": "clik"}]}, "nearest is `click`"),
        ({**request(full_columns(1)), "outputs": 1}, "`outputs` is 1"),
        ({**request(full_columns(1)), "outputs": [{"name": "click"}] * 2}, "twice"),
        ({**request(full_columns(1)), "parameters": {"binary_data_output": 1}}, "true or false"),
    ],
)
def test_wrong_v2_request(served: Served, body: object, told: str) -> None:
    response = served.client.post(INFER, json=body)
    assert response.status_code == 400
    assert told in response.json()["error"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "exactly one of"),
        ({"instances": [], "inputs": {}}, "exactly one of"),
        ({"instances": []}, "no candidate"),
        ({"instances": {}}, "a list"),
        ({"instances": [1]}, "instance 0 is 1"),
        ({"instances": [{"user": "a"}]}, "instance 0 lacks input `item`"),
        ({"instances": [{"usr": "a"}]}, "unknown input 'usr'; nearest is `user`"),
        ({"inputs": []}, "an object with an array per input"),
        ({"inputs": {"user": "a"}}, "input `user` is 'a'"),
        ({"inputs": {"nobody": [1]}}, "unknown input 'nobody'"),
        ({"inputs": {"user": ["a"]}}, "missing input `item`"),
        ({"inputs": full_columns(2) | {"user": ["a"]}}, "has 2 rows"),
        ({"inputs": full_columns(1) | {"tags": [[[1]]]}}, "`tags`"),
        ({"inputs": full_columns(1) | {"tags": [1]}}, "`tags`"),
        ({"inputs": full_columns(1) | {"user": [{"b64": "*"}]}}, "base64"),
        ({"inputs": full_columns(1) | {"user": [{"b64": "/w=="}]}}, "utf-8"),
        ({"inputs": full_columns(1), "signature_name": "other"}, "serving_default"),
        ({"inputs": full_columns(1), "signatur": "other"}, "nearest is `signature_name`"),
    ],
)
def test_wrong_v1_request(served: Served, body: object, told: str) -> None:
    response = served.client.post(PREDICT, json=body)
    assert response.status_code == 400, response.text
    assert told in response.json()["error"]


@pytest.mark.parametrize("path", [INFER, PREDICT])
@pytest.mark.parametrize(
    ("content", "headers", "status", "told"),
    [
        (b"{", {}, 400, "not JSON"),
        (b"", {}, 400, "not JSON"),
        (b'{"inputs": NaN}', {}, 400, "not JSON"),
        (b'{"inputs": 1e999}', {}, 400, "not JSON"),
        (b"\xff\xfe", {}, 400, "not JSON"),
        (b"[" * 100_000, {}, 413, "larger than"),
        (b"[" * 10_000, {}, 400, "not JSON"),
        (b"{}", {"Content-Type": "text/xml"}, 415, "application/json"),
        (b"{}", {"Content-Type": "application/json; charset=latin-1"}, 415, "UTF-8"),
        (b"{}", {"Content-Encoding": "gzip"}, 415, "gzip"),
    ],
)
def test_wrong_body(served: Served, path: str, content: bytes, headers: dict[str, str], status: int, told: str) -> None:
    response = served.client.post(path, content=content, headers=headers)
    assert response.status_code == status, response.text
    assert told in response.json()["error"]


@pytest.mark.parametrize("path", [INFER, PREDICT])
def test_what_is_nested_deeper_than_python_goes(served: Served, path: str) -> None:
    response = served.client.post(path, content=b"[" * 1000 + b"]" * 1000)
    assert response.status_code == 400, response.text
    assert "the body is [[[[" in response.json()["error"]


def test_too_large_without_a_length(served: Served) -> None:
    response = served.client.post(INFER, content=(b" " * 4096 for _ in range(20)))
    assert response.status_code == 413


def test_too_many_candidates(served: Served) -> None:
    columns = full_columns(65)
    for path, body in ((INFER, request(columns)), (PREDICT, {"inputs": columns})):
        response = served.client.post(path, json=body)
        assert response.status_code == 413
        assert "65 candidates" in response.json()["error"]
        assert "at most 64" in response.json()["error"]


@pytest.mark.parametrize("length", ["-1", "abc", "99999999999999999999", "1e3", "²"])
def test_wrong_header_length(served: Served, length: str) -> None:
    headers = {b"Inference-Header-Content-Length": length.encode("latin-1")}
    response = served.client.post(INFER, content=b"{}", headers=headers)
    assert response.status_code == 400
    assert "Inference-Header-Content-Length" in response.json()["error"]


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_binary_tensors_cut_short_or_long(served: Served, cut: int) -> None:
    content, headers = binary(full_columns(3))
    for wrong in (content[:-cut], content + b"x" * cut):
        response = served.client.post(INFER, content=wrong, headers=headers)
        assert response.status_code == 400
        assert "bytes" in response.json()["error"]


def test_binary_nan(served: Served) -> None:
    columns = full_columns(2) | {"price": [1.0, float("nan")]}
    content, headers = binary(columns)
    response = served.client.post(INFER, content=content, headers=headers)
    assert response.status_code == 400
    assert "`price` holds nan" in response.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "told"),
    [
        ("GET", "/", 404, "no such path"),
        ("GET", "/v2/models/dem", 404, "nearest is `demo`"),
        ("POST", "/v2/models/other/infer", 404, "'other' is not served"),
        ("POST", "/v1/models/other:predict", 404, "'other' is not served"),
        ("GET", "/v2/models/demo/versions/latest", 404, "a number"),
        ("GET", "/v2/models/demo/versions/99999999999999999999", 404, "not served"),
        ("GET", "/v2/models/demo/infer", 405, "Method Not Allowed"),
        ("DELETE", "/v2/models/demo", 405, "Method Not Allowed"),
        ("GET", "/v1/models/demo:predict", 404, "demo:predict"),
    ],
)
def test_wrong_path(served: Served, method: str, path: str, status: int, told: str) -> None:
    response = served.client.request(method, path)
    assert response.status_code == status, response.text
    assert told in response.json()["error"]


def test_numbers_that_overflow_the_model(served: Served) -> None:
    columns = full_columns(2) | {"member": [True, False], "age": [3e38, -3e38], "price": [3e38, 1.0]}
    response = served.client.post(PREDICT, json={"inputs": columns})
    assert response.status_code in (200, 422)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"POST /v2/models/demo/infer HTTP/1.1\r\nContent-Length: abc\r\n\r\n",
        b"POST /v2/models/demo/infer HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v2/models/demo/infer HTTP/9.9\r\n\r\n",
        b"POST /v2/models/demo/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/models/%ff%fe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ],
)
def test_raw_bytes_on_the_socket(served: Served, raw: bytes) -> None:
    address = urlsplit(str(served.client.base_url))
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer == b"" or answer.split(b" ", 2)[1].startswith(b"4"), answer[:200]
    assert served.client.get("/healthz").status_code == 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
PARTS = st.sampled_from(["name", "datatype", "shape", "data", "parameters"])
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def dumped(body: object) -> bytes:
    return json.dumps(body).encode("utf-8", "surrogatepass")


def refused_or_answered(served: Served, path: str, content: bytes, headers: dict[str, str] | None = None) -> None:
    response = served.client.post(path, content=content, headers=headers or {})
    assert response.status_code in {200, 400, 413, 415, 422}, (response.status_code, response.text)
    assert response.status_code == 200 or response.json()["error"]


@QUICK
@given(body=JSON)
def test_fuzzed_json(directly: Served, body: object) -> None:
    refused_or_answered(directly, INFER, dumped(body))
    refused_or_answered(directly, PREDICT, dumped(body))


@QUICK
@given(data=st.data())
def test_fuzzed_parts_of_a_good_request(directly: Served, data: st.DataObject) -> None:
    body = request(full_columns(2))
    entry = data.draw(st.sampled_from(body["inputs"]))
    entry[data.draw(PARTS)] = data.draw(JSON)
    refused_or_answered(directly, INFER, dumped(body))
    columns: dict[str, Any] = full_columns(2)
    columns[data.draw(st.sampled_from(sorted(columns)))] = data.draw(JSON)
    refused_or_answered(directly, PREDICT, dumped({"inputs": columns}))
    rows: list[Any] = [{name: cells[row] for name, cells in full_columns(2).items()} for row in range(2)]
    rows[1][data.draw(st.sampled_from(sorted(rows[1])))] = data.draw(JSON)
    refused_or_answered(directly, PREDICT, dumped({"instances": rows}))


@QUICK
@given(at=st.integers(0, 2000), put=st.binary(min_size=1, max_size=4), cut=st.integers(0, 30))
def test_fuzzed_binary_tensors(directly: Served, at: int, put: bytes, cut: int) -> None:
    content, headers = binary(full_columns(3))
    at %= len(content)
    wrong = content[:at] + put + content[at + len(put) : len(content) - cut]
    refused_or_answered(directly, INFER, wrong, headers)
