"""Answers an inference request of either REST protocol from its path, headers and whole body; knows no connection."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from starlette.responses import Response

from serving import protocol_v1, protocol_v2
from serving.answering import raw_response
from serving.body import BINARY_TYPE, JSON_TYPE
from serving.layouts import Layouts
from serving.predictor import Predictor, version_asked, version_in_header
from serving.shadow import Shadow

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
AT_LEAST: Final = "X-Springtide-At-Least-Version"
SHADOW: Final = "X-Springtide-Shadow-Version"

Protocol = Literal["v1", "v2"]


@dataclass(frozen=True)
class Asked:
    """What path and headers say.

    Attributes:
        protocol: Whose body follows.
        version: The version asked for; None for the newest.
        at_least: The oldest version that may answer; None for any.
        beside: The version to compare with; None for none.
        header_length: Of v2, how long the JSON part of the body is, as it was sent; None where all of it is JSON.
    """

    protocol: Protocol
    version: int | None
    at_least: int | None
    beside: int | None
    header_length: str | None


class Inference:
    """Of one replica, for any number of threads."""

    def __init__(self, predictor: Predictor, shadow: Shadow) -> None:
        self._predictor = predictor
        self._shadow = shadow
        self._layouts = Layouts()

    def asked(self, protocol: Protocol, model: str, version: str | None, headers: Mapping[str, str]) -> Asked:
        """Reads what comes before the body.

        Args:
            protocol: Whose path it is.
            model: As it stands in the path.
            version: As it stands in the path.
            headers: Of the request; names in any case.

        Raises:
            Refused: Another model is asked for, or a version is no number.
        """
        self._predictor.check_model(model)
        return Asked(
            protocol,
            version_asked(version),
            version_in_header(AT_LEAST, headers.get(AT_LEAST)),
            version_in_header(SHADOW, headers.get(SHADOW)),
            headers.get(HEADER_LENGTH) if protocol == "v2" else None,
        )

    def answer(self, asked: Asked, body: bytes) -> Response:
        """Scores what ``body`` asks.

        Raises:
            Refused: The body is not what the protocol wants, or :meth:`Predictor.predict` refuses it.
            Unavailable: No version answers yet.
        """
        signature = self._predictor.signature
        if asked.protocol == "v1":
            predict = protocol_v1.read_predict(body, signature)
            prediction = self._predictor.predict(predict.question, asked.version, asked.at_least)
            self._shadow.score(predict.question, prediction, asked.beside)
            return raw_response(
                protocol_v1.write_predict(predict, prediction, signature), prediction.version, JSON_TYPE
            )
        infer = protocol_v2.read_infer(body, asked.header_length, signature, self._layouts)
        prediction = self._predictor.predict(infer.question, asked.version, asked.at_least)
        self._shadow.score(infer.question, prediction, asked.beside)
        content, json_length = protocol_v2.write_infer(infer, prediction, signature)
        if json_length is None:
            return raw_response(content, prediction.version)
        return raw_response(content, prediction.version, BINARY_TYPE, headers={HEADER_LENGTH: str(json_length)})
