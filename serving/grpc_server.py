"""Answers the Open Inference Protocol v2 over gRPC: limits, deadlines, errors as status codes; knows no tensor."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2

from infra.clock import Clock
from infra.errors import Unavailable
from infra.metrics import Metrics
from serving import protocol_grpc, protocol_v2
from serving.answering import LONGEST_WAIT_S, MOST_WAITING, WORKERS, waited_too_long
from serving.listening import listen
from serving.open_inference import inference_pb2 as messages
from serving.predictor import Predictor, version_asked
from serving.refusals import (
    DEADLINE_PASSED,
    NOT_FOUND,
    NOT_READY,
    SERVER_ERROR,
    TOO_MANY,
    UNPROCESSABLE,
    Refused,
    outcome_of,
    shown,
)
from serving.server import DRAIN_WITHIN_S
from serving.shadow import Shadow

SERVICE: Final = "inference.GRPCInferenceService"
HEALTH: Final = "grpc.health.v1.Health"
CODES: Final = {
    NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    NOT_READY: grpc.StatusCode.UNAVAILABLE,
    TOO_MANY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UNPROCESSABLE: grpc.StatusCode.FAILED_PRECONDITION,
    SERVER_ERROR: grpc.StatusCode.INTERNAL,
    DEADLINE_PASSED: grpc.StatusCode.DEADLINE_EXCEEDED,
}
# Requests for health and metadata, which never wait behind predictions.
BESIDE: Final = 8
# Beside the tensors: names, shapes and parameters.
MESSAGE_OVERHEAD: Final = 64 << 10


class GrpcServer:
    """The gRPC side of one replica; threads of its own answer."""

    def __init__(
        self,
        predictor: Predictor,
        shadow: Shadow,
        *,
        not_ready: Callable[[], str | None],
        release: str,
        max_body: int,
        metrics: Metrics,
        clock: Clock,
        port_shared: bool = False,
    ) -> None:
        """Sets up; :meth:`listen` and :meth:`start` follow.

        Args:
            predictor: Answers questions.
            shadow: Compares answers with those of other versions.
            not_ready: Why the replica is not ready; None while it is.
            release: The program's own version.
            max_body: Most bytes of a request's tensors.
            metrics: Of this process.
            clock: Times the requests.
            port_shared: Whether other processes of the same replica listen on the same port.
        """
        self._port_shared = port_shared
        self._predictor = predictor
        self._shadow = shadow
        self._not_ready = not_ready
        self._release = release
        self._metrics = metrics
        self._clock = clock
        self._places = threading.Semaphore(WORKERS + MOST_WAITING)
        self._turns = threading.Semaphore(WORKERS)
        self._ended: threading.Event | None = None
        # Threads that wait cost little, and are made when they are needed.
        most = WORKERS + MOST_WAITING + BESIDE
        self._server = grpc.server(
            ThreadPoolExecutor(most, thread_name_prefix="grpc"),
            # gRPC itself refuses what is beyond these with RESOURCE_EXHAUSTED.
            maximum_concurrent_rpcs=most,
            options=[
                ("grpc.max_receive_message_length", max_body + MESSAGE_OVERHEAD),
                ("grpc.so_reuseport", int(port_shared)),
            ],
        )
        unary = {
            "ServerLive": (self._live, messages.ServerLiveRequest),
            "ServerReady": (self._ready, messages.ServerReadyRequest),
            "ModelReady": (self._model_ready, messages.ModelReadyRequest),
            "ServerMetadata": (self._metadata, messages.ServerMetadataRequest),
            "ModelMetadata": (self._model_metadata, messages.ModelMetadataRequest),
            "ModelInfer": (self._infer, messages.ModelInferRequest),
        }
        handlers = {name: self._handler(answer, request) for name, (answer, request) in unary.items()}
        health = {"Check": self._handler(self._check, health_pb2.HealthCheckRequest)}
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(SERVICE, handlers),
                grpc.method_handlers_generic_handler(HEALTH, health),
            )
        )

    def listen(self, host: str, port: int) -> int:
        """Takes the port, or a free one where it is 0, and returns it.

        Raises:
            Invalid: The port is in use, or the address is not this machine's.
        """
        # gRPC says of a port that it cannot take it, not why.
        if not self._port_shared:
            listen(host, port).close()
        where = f"[{host}]" if ":" in host else host
        try:
            return int(self._server.add_insecure_port(f"{where}:{port}"))
        except RuntimeError as error:
            cure = "set serving.grpc_port to a free port, or end what listens there"
            raise Unavailable(f"cannot listen: {error}", where=f"{host}:{port}", cure=cure) from None

    def start(self) -> None:
        """Answers from now on."""
        self._server.start()

    def leave(self) -> None:
        """Takes no new request from now on; those begun have a few seconds to end."""
        self._ended = self._server.stop(DRAIN_WITHIN_S)

    def stop(self) -> None:
        """Returns once those begun are answered or their time is over."""
        if self._ended is None:
            self.leave()
        if self._ended is not None:
            self._ended.wait()

    def _handler(self, answer: Callable[[Any, Any], Any], request: Any) -> Any:
        def answered(message: Any, context: Any) -> Any:
            began = self._clock.monotonic()
            code, details, response = grpc.StatusCode.OK, "", None
            # One that has waited past its deadline, or that nobody waits for any more, is not computed.
            if not context.is_active():
                code, details = grpc.StatusCode.DEADLINE_EXCEEDED, "nobody waits for the answer any more"
            else:
                code, details, response = self._outcome(answer, message, context)
            self._metrics.inc("springtide_replica_requests_total", protocol="grpc", code=code.name)
            self._metrics.observe(
                "springtide_replica_request_seconds", self._clock.monotonic() - began, protocol="grpc"
            )
            if response is None:
                context.abort(code, details)
            return response

        return grpc.unary_unary_rpc_method_handler(
            answered, request_deserializer=request.FromString, response_serializer=lambda made: made.SerializeToString()
        )

    def _outcome(self, answer: Callable[[Any, Any], Any], message: Any, context: Any) -> tuple[Any, str, Any]:
        try:
            return grpc.StatusCode.OK, "", answer(message, context)
        except Exception as error:  # noqa: BLE001 - the asker gets INTERNAL, the log the whole of it
            status, told = outcome_of(error, type(message).__name__)
            return CODES.get(status, grpc.StatusCode.INVALID_ARGUMENT), told, None

    def _live(self, _: Any, __: Any) -> Any:
        return messages.ServerLiveResponse(live=True)

    def _ready(self, _: Any, __: Any) -> Any:
        return messages.ServerReadyResponse(ready=self._not_ready() is None)

    def _model_ready(self, request: Any, _: Any) -> Any:
        self._predictor.check_model(request.name)
        self._predictor.check_version(version_asked(request.version or None))
        return messages.ModelReadyResponse(ready=self._not_ready() is None)

    def _metadata(self, _: Any, __: Any) -> Any:
        return messages.ServerMetadataResponse(**protocol_v2.server_metadata(self._release))

    def _model_metadata(self, request: Any, _: Any) -> Any:
        self._predictor.check_model(request.name)
        self._predictor.check_version(version_asked(request.version or None))
        return protocol_grpc.model_metadata(self._predictor.signature, self._predictor.kept)

    def _infer(self, request: Any, context: Any) -> Any:
        if not self._places.acquire(blocking=False):
            cure = "send less at once, or add replicas"
            raise Refused(f"{WORKERS + MOST_WAITING} requests wait already", status=TOO_MANY, cure=cure)
        try:
            came = self._clock.monotonic()
            if not self._turns.acquire(timeout=LONGEST_WAIT_S):
                raise waited_too_long(self._clock.monotonic() - came)
            try:
                return self._predict(request, context)
            finally:
                self._turns.release()
        finally:
            self._places.release()

    def _predict(self, request: Any, context: Any) -> Any:
        if not context.is_active():
            raise Refused("nobody waits for the answer any more", status=DEADLINE_PASSED)
        self._predictor.check_model(request.model_name)
        version = version_asked(request.model_version or None)
        parameters = request.parameters
        at_least = protocol_grpc.parameter(parameters, "at_least_version", "int64_param", default=None)
        beside = protocol_grpc.parameter(parameters, "shadow_version", "int64_param", default=None)
        infer = protocol_grpc.read_infer(request, self._predictor.signature)
        prediction = self._predictor.predict(infer.question, version, at_least)
        self._shadow.score(infer.question, prediction, beside)
        return protocol_grpc.write_infer(infer, prediction, self._predictor.signature)

    def _check(self, request: Any, _: Any) -> Any:
        """Of the health service, for the server as a whole and for the inference service; `Watch` is not offered."""
        if request.service not in ("", SERVICE):
            raise Refused(f"service {shown(request.service)} is unknown", status=NOT_FOUND, wanted=SERVICE)
        status = health_pb2.HealthCheckResponse
        return status(status=status.SERVING if self._not_ready() is None else status.NOT_SERVING)
