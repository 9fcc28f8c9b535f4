"""Too much at once over gRPC, and a server that leaves: told in time, while health is answered."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import queue
import threading
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from infra.clock import SystemClock
from serving import grpc_server
from serving.answering import MOST_WAITING, WORKERS
from serving.grpc_server import GrpcServer
from serving.open_inference import inference_pb2 as messages
from serving.shadow import Shadow
from tests.serving.conftest import Served
from tests.serving.test_grpc import ROWS, Client, client, full_columns, refused, request_of, server

__all__ = ["client", "server"]


def test_too_large_and_too_many(client: Client, directly: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    large = request_of(full_columns() | {"user": ["x" * 200_000] * ROWS}, raw=True)
    assert refused(client, large).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "at most 64" in refused(client, request_of(full_columns(65), raw=True)).details()
    release = threading.Event()
    predict = directly.replica.predictor.predict

    def slow(*asked: Any) -> Any:
        release.wait(20)
        return predict(*asked)

    monkeypatch.setattr(directly.replica.predictor, "predict", slow)
    monkeypatch.setattr(grpc_server, "LONGEST_WAIT_S", 20.0)
    ended: queue.Queue[Any] = queue.Queue()
    too_many = 8
    try:
        stub = client.channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=messages.ModelInferRequest.SerializeToString,
            response_deserializer=messages.ModelInferResponse.FromString,
        )
        request = request_of(full_columns(), raw=True)
        calls = [stub.future(request, timeout=20) for _ in range(WORKERS + MOST_WAITING + too_many)]
        for call in calls:
            call.add_done_callback(ended.put)
        shed = [ended.get(timeout=20).code() for _ in range(too_many)]
        # Who asks for its health does not wait behind them.
        check = client.call(
            "Check", health_pb2.HealthCheckRequest(), health_pb2.HealthCheckResponse, "grpc.health.v1.Health"
        )
        assert check.status == health_pb2.HealthCheckResponse.SERVING
        release.set()
        others = [ended.get(timeout=20).code() for _ in range(len(calls) - too_many)]
    finally:
        release.set()
    assert set(shed) == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert set(others) == {grpc.StatusCode.OK}


def test_who_has_waited_too_long_is_told(client: Client, directly: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(directly.replica.predictor, "predict", lambda *_: release.wait(20))
    monkeypatch.setattr(grpc_server, "LONGEST_WAIT_S", 0.05)
    stub = client.channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=messages.ModelInferRequest.SerializeToString,
    )
    request = request_of(full_columns(), raw=True)
    try:
        ended: queue.Queue[Any] = queue.Queue()
        for _ in range(WORKERS + 1):
            stub.future(request, timeout=20).add_done_callback(ended.put)
        late = ended.get(timeout=20)
    finally:
        release.set()
    assert late.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "for its turn" in late.details()
    for _ in range(WORKERS):
        ended.get(timeout=20)


def test_who_leaves_takes_nothing_new_and_ends_what_it_has_begun(
    directly: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = directly.replica
    begun, release = threading.Event(), threading.Event()
    predict = replica.predictor.predict

    def slow(*asked: Any) -> Any:
        begun.set()
        release.wait(20)
        return predict(*asked)

    monkeypatch.setattr(replica.predictor, "predict", slow)
    arguments: Any = {"release": "", "max_body": 1 << 20, "metrics": replica.metrics, "clock": SystemClock()}
    made = GrpcServer(
        replica.predictor, Shadow(replica.predictor, replica.metrics), not_ready=lambda: None, **arguments
    )
    client = Client(made.listen("127.0.0.1", 0))
    made.start()
    stub = client.channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=messages.ModelInferRequest.SerializeToString,
        response_deserializer=messages.ModelInferResponse.FromString,
    )
    call = stub.future(request_of(full_columns(), raw=True), timeout=20)
    assert begun.wait(20)
    made.leave()
    # Which of the two is gRPC's affair: a request may be on its way when word of the end is.
    new = refused(client, request_of(full_columns(), raw=True)).code()
    assert new in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    release.set()
    assert call.result().model_version == "2"
    made.stop()
    client.channel.close()
