"""Maps the paths of both inference protocols to what answers them; knows no table and no store."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving import protocol_v1, protocol_v2
from serving.answering import Answering, Handler, json_response, timeout_asked
from serving.inference import Inference, Protocol
from serving.predictor import Predictor, version_asked
from serving.refusals import NOT_READY, Refused


class Endpoints:
    """The endpoints of one replica."""

    def __init__(
        self,
        predictor: Predictor,
        answering: Answering,
        inference: Inference,
        not_ready: Callable[[], str | None],
        release: str,
    ) -> None:
        """Sets up.

        Args:
            predictor: Says which versions there are.
            answering: Limits, threads and figures.
            inference: Answers what is asked of the model.
            not_ready: Why the replica is not ready; None while it is.
            release: The program's own version.
        """
        self._predictor = predictor
        self._answering = answering
        self._inference = inference
        self._not_ready = not_ready
        self._release = release

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
        return await self._infer("v2", request)

    async def _v1_status(self, request: Request) -> Response:
        asked = self._version_asked(request)
        version = self._predictor.check_version(asked)
        return json_response(protocol_v1.status(self._predictor.kept if asked is None else [version]), version=version)

    async def _v1_metadata(self, request: Request) -> Response:
        version = self._predictor.check_version(self._version_asked(request))
        return json_response(protocol_v1.metadata(self._predictor.signature, version), version=version)

    async def _v1_predict(self, request: Request) -> Response:
        return await self._infer("v1", request)

    async def _infer(self, protocol: Protocol, request: Request) -> Response:
        path = request.path_params
        asked = self._inference.asked(protocol, path["model"], path.get("version"), request.headers)
        within_s = timeout_asked(request.headers)
        body = await self._answering.body(request)
        return await self._answering.compute(lambda: self._inference.answer(asked, body), within_s)
