"""Maps the paths of both inference protocols to what answers them; knows no table and no store."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving import protocol_v1, protocol_v2
from serving.answering import Answering, Handler, json_response, raw_response, timeout_asked
from serving.body import BINARY_TYPE, JSON_TYPE
from serving.layouts import Layouts
from serving.predictor import Predictor, version_asked, version_in_header
from serving.refusals import NOT_READY, Refused
from serving.shadow import Shadow

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
AT_LEAST: Final = "X-Springtide-At-Least-Version"
SHADOW: Final = "X-Springtide-Shadow-Version"


class Endpoints:
    """The endpoints of one replica."""

    def __init__(
        self,
        predictor: Predictor,
        answering: Answering,
        shadow: Shadow,
        not_ready: Callable[[], str | None],
        release: str,
    ) -> None:
        """Sets up.

        Args:
            predictor: Answers questions.
            answering: Limits, threads and figures.
            shadow: Compares answers with those of other versions.
            not_ready: Why the replica is not ready; None while it is.
            release: The program's own version.
        """
        self._predictor = predictor
        self._answering = answering
        self._shadow = shadow
        self._not_ready = not_ready
        self._release = release
        self._layouts = Layouts()

    def routes(self) -> list[Route]:
        """Every path of both protocols; what asks for a version stands beside what takes the newest."""
        v2, v1 = "/v2/models/{model}", "/v1/models/{model}"
        versions = "/versions/{version}"
        return [
            self._route("v2", "/v2", self._v2_server),
            self._route("v2", "/v2/health/live", self._v2_live),
            self._route("v2", "/v2/health/ready", self._v2_ready),
            *(
                route
                for of in (v2, v2 + versions)
                for route in (
                    self._route("v2", of, self._v2_model),
                    self._route("v2", of + "/ready", self._v2_model_ready),
                    self._route("v2", of + "/infer", self._v2_infer, "POST"),
                )
            ),
            *(
                route
                for of in (v1, v1 + versions)
                for route in (
                    self._route("v1", of + ":predict", self._v1_predict, "POST"),
                    self._route("v1", of + "/metadata", self._v1_metadata),
                    self._route("v1", of, self._v1_status),
                )
            ),
        ]

    def _route(self, protocol: str, path: str, handler: Handler, method: str = "GET") -> Route:
        return Route(path, self._answering.endpoint(protocol, handler), methods=[method])

    def _version_asked(self, request: Request) -> int | None:
        """The version in the path, once the model in the path is ours."""
        self._predictor.check_model(request.path_params["model"])
        return version_asked(request.path_params.get("version"))

    async def _v2_server(self, _: Request) -> Response:
        return json_response(protocol_v2.server_metadata(self._release))

    async def _v2_live(self, _: Request) -> Response:
        return json_response({"live": True})

    async def _v2_ready(self, _: Request) -> Response:
        reason = self._not_ready()
        if reason is not None:
            raise Refused(reason, status=NOT_READY)
        return json_response({"ready": True})

    async def _v2_model(self, request: Request) -> Response:
        version = self._predictor.check_version(self._version_asked(request))
        return json_response(
            protocol_v2.model_metadata(self._predictor.signature, self._predictor.kept), version=version
        )

    async def _v2_model_ready(self, request: Request) -> Response:
        version = self._predictor.check_version(self._version_asked(request))
        await self._v2_ready(request)
        return json_response({"name": self._predictor.signature.model, "ready": True}, version=version)

    async def _v2_infer(self, request: Request) -> Response:
        version = self._version_asked(request)
        within_s = timeout_asked(request)
        body = await self._answering.body(request)
        header_length = request.headers.get(HEADER_LENGTH)
        at_least = version_in_header(AT_LEAST, request.headers.get(AT_LEAST))
        beside = version_in_header(SHADOW, request.headers.get(SHADOW))

        def work() -> Response:
            signature = self._predictor.signature
            infer = protocol_v2.read_infer(body, header_length, signature, self._layouts)
            prediction = self._predictor.predict(infer.question, version, at_least)
            self._shadow.score(infer.question, prediction, beside)
            content, json_length = protocol_v2.write_infer(infer, prediction, signature)
            if json_length is None:
                return raw_response(content, prediction.version)
            return raw_response(content, prediction.version, BINARY_TYPE, headers={HEADER_LENGTH: str(json_length)})

        return await self._answering.compute(work, within_s)

    async def _v1_status(self, request: Request) -> Response:
        asked = self._version_asked(request)
        version = self._predictor.check_version(asked)
        return json_response(protocol_v1.status(self._predictor.kept if asked is None else [version]), version=version)

    async def _v1_metadata(self, request: Request) -> Response:
        version = self._predictor.check_version(self._version_asked(request))
        return json_response(protocol_v1.metadata(self._predictor.signature, version), version=version)

    async def _v1_predict(self, request: Request) -> Response:
        version = self._version_asked(request)
        at_least = version_in_header(AT_LEAST, request.headers.get(AT_LEAST))
        beside = version_in_header(SHADOW, request.headers.get(SHADOW))
        within_s = timeout_asked(request)
        body = await self._answering.body(request)

        def work() -> Response:
            signature = self._predictor.signature
            predict = protocol_v1.read_predict(body, signature)
            prediction = self._predictor.predict(predict.question, version, at_least)
            self._shadow.score(predict.question, prediction, beside)
            return raw_response(
                protocol_v1.write_predict(predict, prediction, signature), prediction.version, JSON_TYPE
            )

        return await self._answering.compute(work, within_s)
