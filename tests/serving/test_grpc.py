"""The Open Inference Protocol v2 over gRPC, by a plain gRPC client; every request gets an answer or a clear error."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.clock import SystemClock
from infra.errors import Invalid
from serving.grpc_server import GrpcServer
from serving.open_inference import inference_pb2 as messages
from serving.shadow import Shadow
from tests.serving.conftest import Served
from tests.serving.model import FIELDS, Columns, make_columns

ROWS = 6
TYPED = {"string": "bytes_contents", "integer": "int64_contents", "number": "fp64_contents", "boolean": "bool_contents"}
DATATYPE = {"string": "BYTES", "integer": "INT64", "number": "FP64", "boolean": "BOOL"}
RAW = {"integer": "<i8", "number": "<f8", "boolean": "?"}


class Client:
    """A plain client: a channel and the messages."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def call(self, method: str, request: Any, response: Any, service: str = "inference.GRPCInferenceService") -> Any:
        stub = self.channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )
        return stub(request, timeout=20)

    def infer(self, request: Any) -> Any:
        return self.call("ModelInfer", request, messages.ModelInferResponse)


@pytest.fixture(scope="module")
def server(directly: Served) -> Iterator[tuple[GrpcServer, Client]]:
    replica = directly.replica
    made = GrpcServer(
        replica.predictor,
        Shadow(replica.predictor, replica.metrics),
        not_ready=lambda: None,
        release="test",
        max_body=replica.pipeline.serving.max_body.bytes,
        metrics=replica.metrics,
        clock=SystemClock(),
    )
    client = Client(made.listen("127.0.0.1", 0))
    made.start()
    yield made, client
    client.channel.close()
    made.stop()


@pytest.fixture
def client(server: tuple[GrpcServer, Client]) -> Client:
    return server[1]


def full_columns(rows: int = ROWS) -> Columns:
    """Without nulls, which tensors cannot hold, and with lists of one length."""
    columns = make_columns(rows, seed=9)
    filled: Columns = {}
    for name, values in columns.items():
        kind = FIELDS[name]
        if kind == "list[string]":
            filled[name] = [["g1", "g3"] for _ in values]
        elif kind == "list[integer]":
            filled[name] = [[row, 2] for row in range(len(values))]
        else:
            rest = {"string": "someone", "integer": 3, "number": 1.5, "boolean": True}[kind]
            filled[name] = [rest if value is None else value for value in values]
    return filled


def request_of(columns: Columns, *, raw: bool, shared: tuple[str, ...] = (), **parts: Any) -> Any:
    request = messages.ModelInferRequest(model_name="demo", id="seven", **parts)
    for name, values in columns.items():
        kind = FIELDS[name].removeprefix("list[").removesuffix("]")
        nested = FIELDS[name].startswith("list")
        flat = [cell for row in values for cell in row] if nested else values
        tensor = request.inputs.add(name=name, datatype=DATATYPE[kind])
        tensor.shape.extend([len(values), len(values[0])] if nested else [len(values)])
        if name in shared:
            tensor.parameters["shared"].bool_param = True
        if kind == "string":
            flat = [text.encode() for text in flat]
        if not raw:
            getattr(tensor.contents, TYPED[kind]).extend(flat)
        elif kind == "string":
            request.raw_input_contents.append(b"".join(len(text).to_bytes(4, "little") + text for text in flat))
        else:
            request.raw_input_contents.append(np.array(flat, RAW[kind]).tobytes())
    return request


def refused(client: Client, request: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as error:
        client.infer(request)
    return error.value


@pytest.mark.parametrize("raw", [True, False])
def test_predictions(directly: Served, client: Client, raw: bool) -> None:
    columns = full_columns()
    answer = client.infer(request_of(columns, raw=raw))
    assert (answer.model_name, answer.model_version, answer.id) == ("demo", "2", "seven")
    (output,) = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("click", "FP32", [ROWS])
    if raw:
        got = np.frombuffer(answer.raw_output_contents[0], "<f4")
    else:
        got = np.array(output.contents.fp32_contents, np.float32)
    np.testing.assert_allclose(got, directly.model.expected(columns)[:, 0], rtol=0, atol=1e-5)


def test_what_the_candidates_share_is_sent_once(directly: Served, client: Client) -> None:
    columns = full_columns()
    once = {"user": columns["user"][:1], "genres": [["g1", "g3"]], "age": columns["age"][:1]}
    answer = client.infer(request_of(columns | once, raw=True, shared=tuple(once)))
    wanted = directly.model.expected(columns | {name: values * ROWS for name, values in once.items()})[:, 0]
    np.testing.assert_allclose(np.frombuffer(answer.raw_output_contents[0], "<f4"), wanted, rtol=0, atol=1e-5)


def test_health_and_metadata(client: Client) -> None:
    assert client.call("ServerLive", messages.ServerLiveRequest(), messages.ServerLiveResponse).live
    assert client.call("ServerReady", messages.ServerReadyRequest(), messages.ServerReadyResponse).ready
    ready = messages.ModelReadyRequest(name="demo", version="2")
    assert client.call("ModelReady", ready, messages.ModelReadyResponse).ready
    server = client.call("ServerMetadata", messages.ServerMetadataRequest(), messages.ServerMetadataResponse)
    assert server.name == "springtide"
    model = client.call("ModelMetadata", messages.ModelMetadataRequest(name="demo"), messages.ModelMetadataResponse)
    assert [tensor.name for tensor in model.inputs] == list(FIELDS)
    assert list(model.versions) == ["2"]
    health = "grpc.health.v1.Health"
    check = client.call("Check", health_pb2.HealthCheckRequest(), health_pb2.HealthCheckResponse, health)
    assert check.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as unknown:
        client.call("Check", health_pb2.HealthCheckRequest(service="x"), health_pb2.HealthCheckResponse, health)
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"model_name": "dem"}, "NOT_FOUND", "nearest is `demo`"),
        ({"model_version": "77"}, "NOT_FOUND", "version 77 is not served; wanted version 2"),
        ({"model_version": "latest"}, "NOT_FOUND", "a number"),
        (
            {"parameters": {"at_least_version": messages.InferParameter(int64_param=3)}},
            "UNAVAILABLE",
            "version 2 answers",
        ),
        ({"parameters": {"at_least_version": messages.InferParameter(bool_param=True)}}, "INVALID_ARGUMENT", "int64"),
        ({"outputs": [messages.ModelInferRequest.InferRequestedOutputTensor(name="buy")]}, "INVALID_ARGUMENT", "buy"),
        ({"raw_input_contents": [b"x"]}, "INVALID_ARGUMENT", "one for each"),
    ],
)
def test_refusals(client: Client, change: dict[str, Any], code: str, says: str) -> None:
    request = request_of(full_columns(), raw=False)
    request.MergeFrom(messages.ModelInferRequest(**change))
    error = refused(client, request)
    assert error.code().name == code
    assert says in error.details()


def test_a_version_asked_for_at_least(client: Client) -> None:
    parameters = {"at_least_version": messages.InferParameter(int64_param=2)}
    assert client.infer(request_of(full_columns(), raw=True, parameters=parameters)).model_version == "2"


def test_a_port_in_use_is_told(server: tuple[GrpcServer, Client], directly: Served) -> None:
    replica = directly.replica
    arguments: Any = {"not_ready": lambda: None, "release": "", "max_body": 1, "metrics": replica.metrics}
    shadow = Shadow(replica.predictor, replica.metrics)
    one = GrpcServer(replica.predictor, shadow, clock=SystemClock(), **arguments)
    port = one.listen("127.0.0.1", 0)
    other = GrpcServer(replica.predictor, shadow, clock=SystemClock(), **arguments)
    with pytest.raises(Invalid, match=str(port)):
        other.listen("127.0.0.1", port)
    one.stop()
    other.stop()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.one_of(st.binary(max_size=200), st.data()))
def test_no_bytes_crash_it(client: Client, body: Any) -> None:
    """Noise, and good requests with bytes changed: refused as what they are, and the server goes on."""
    if not isinstance(body, bytes):
        good = bytearray(request_of(full_columns(), raw=body.draw(st.booleans())).SerializeToString())
        for _ in range(body.draw(st.integers(1, 6))):
            good[body.draw(st.integers(0, len(good) - 1))] = body.draw(st.integers(0, 255))
        body = bytes(good[: body.draw(st.integers(0, len(good)))])
    stub = client.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    try:
        answer = messages.ModelInferResponse.FromString(stub(body, timeout=20))
        assert answer.model_version == "2"
    except grpc.RpcError as error:
        assert error.code() in (  # INTERNAL is gRPC's own word for bytes that are no message
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.NOT_FOUND,
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.INTERNAL,
        )
        assert error.code() is not grpc.StatusCode.INTERNAL or "deserializing" in error.details()
