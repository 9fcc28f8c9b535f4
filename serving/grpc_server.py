"""Answers the Open Inference Protocol v2 over gRPC: limits, deadlines, errors as status codes; knows no tensor."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2

from infra.clock import Clock
from infra.errors import Bug, Invalid, SpringtideError, Unavailable
from infra.logs import logger
from infra.metrics import Metrics
from serving import protocol_grpc, protocol_v2
from serving.answering import MOST_WAITING, WORKERS
from serving.listening import listen
from serving.open_inference import inference_pb2 as messages
from serving.predictor import Predictor, version_asked
from serving.refusals import NOT_FOUND, NOT_READY, TOO_MANY, UNPROCESSABLE, Refused, shown

SERVICE: Final = "inference.GRPCInferenceService"
HEALTH: Final = "grpc.health.v1.Health"
INTERNAL: Final = "internal error; see the replica's log"
CODES: Final = {
    NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    NOT_READY: grpc.StatusCode.UNAVAILABLE,
    TOO_MANY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UNPROCESSABLE: grpc.StatusCode.FAILED_PRECONDITION,
}
# Beside the tensors: names, shapes and parameters.
MESSAGE_OVERHEAD: Final = 64 << 10
DRAIN_WITHIN_S: Final = 1.0

_log = logger()


class GrpcServer:
    """The gRPC side of one replica; threads of its own answer."""

    def __init__(
        self,
        predictor: Predictor,
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
            not_ready: Why the replica is not ready; None while it is.
            release: The program's own version.
            max_body: Most bytes of a request's tensors.
            metrics: Of this process.
            clock: Times the requests.
            port_shared: Whether other processes of the same replica listen on the same port.
        """
        self._port_shared = port_shared
        self._predictor = predictor
        self._not_ready = not_ready
        self._release = release
        self._metrics = metrics
        self._clock = clock
        self._server = grpc.server(
            ThreadPoolExecutor(WORKERS, thread_name_prefix="grpc"),
            # gRPC itself refuses what is beyond these with RESOURCE_EXHAUSTED.
            maximum_concurrent_rpcs=WORKERS + MOST_WAITING,
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
            raise Unavailable(f"cannot listen: {error}", where=f"{host}:{port}") from None

    def start(self) -> None:
        """Answers from now on."""
        self._server.start()

    def stop(self) -> None:
        """Takes no new request, and ends when those begun are answered, at the latest after a second."""
        self._server.stop(DRAIN_WITHIN_S).wait()

    def _handler(self, answer: Callable[[Any], Any], request: Any) -> Any:
        def answered(message: Any, context: Any) -> Any:
            began = self._clock.monotonic()
            code, details, response = grpc.StatusCode.OK, "", None
            # One that has waited past its deadline, or that nobody waits for any more, is not computed.
            if not context.is_active():
                code, details = grpc.StatusCode.DEADLINE_EXCEEDED, "nobody waits for the answer any more"
            else:
                code, details, response = self._outcome(answer, message)
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

    def _outcome(self, answer: Callable[[Any], Any], message: Any) -> tuple[Any, str, Any]:
        try:
            return grpc.StatusCode.OK, "", answer(message)
        except Refused as error:
            return CODES.get(error.status, grpc.StatusCode.INVALID_ARGUMENT), str(error), None
        except Unavailable as error:
            return grpc.StatusCode.UNAVAILABLE, str(error), None
        except Invalid as error:
            return grpc.StatusCode.INVALID_ARGUMENT, str(error), None
        except SpringtideError as error:
            _log.error("request_failed", error=error if isinstance(error, Bug) else str(error))
        except Exception as error:  # noqa: BLE001 - the asker gets INTERNAL, the log the whole of it
            _log.error("request_failed", error=error)
        return grpc.StatusCode.INTERNAL, INTERNAL, None

    def _live(self, _: Any) -> Any:
        return messages.ServerLiveResponse(live=True)

    def _ready(self, _: Any) -> Any:
        return messages.ServerReadyResponse(ready=self._not_ready() is None)

    def _model_ready(self, request: Any) -> Any:
        self._predictor.check_model(request.name)
        self._predictor.check_version(version_asked(request.version or None))
        return messages.ModelReadyResponse(ready=self._not_ready() is None)

    def _metadata(self, _: Any) -> Any:
        return messages.ServerMetadataResponse(**protocol_v2.server_metadata(self._release))

    def _model_metadata(self, request: Any) -> Any:
        self._predictor.check_model(request.name)
        version = self._predictor.check_version(version_asked(request.version or None))
        return protocol_grpc.model_metadata(self._predictor.signature, version)

    def _infer(self, request: Any) -> Any:
        self._predictor.check_model(request.model_name)
        version = version_asked(request.model_version or None)
        at_least = protocol_grpc.parameter(request.parameters, "at_least_version", "int64_param", default=None)
        infer = protocol_grpc.read_infer(request, self._predictor.signature)
        prediction = self._predictor.predict(infer.question, version, at_least)
        return protocol_grpc.write_infer(infer, prediction, self._predictor.signature)

    def _check(self, request: Any) -> Any:
        """Of the health service, for the server as a whole and for the inference service; `Watch` is not offered."""
        if request.service not in ("", SERVICE):
            raise Refused(f"service {shown(request.service)} is unknown", status=NOT_FOUND, wanted=SERVICE)
        status = health_pb2.HealthCheckResponse
        return status(status=status.SERVING if self._not_ready() is None else status.NOT_SERVING)
