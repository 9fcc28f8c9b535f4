"""Answers a question from the newest version: columns to ids, ids to rows, rows to predictions; knows no protocol."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Final

import numpy as np

from infra.metrics import Metrics
from kernels.features import FeatureEncoder
from serving.prediction import Prediction, Question
from serving.refusals import NOT_FOUND, NOT_READY, UNPROCESSABLE, Refused, nearest, shown
from serving.signature import Signature, check_encoder
from serving.snapshot import Published, Readers, Versions

LARGEST_DIGITS: Final = 19


class Predictor:
    """Answers questions, from many threads at once."""

    def __init__(
        self, signature: Signature, encoder: FeatureEncoder, versions: Versions, readers: Readers, metrics: Metrics
    ) -> None:
        """Checks that the features can be made from the declared columns.

        Args:
            signature: What a question must hold.
            encoder: Turns columns into ids and numbers, as it does for the learner.
            versions: Where the newest one is found.
            readers: Of the tables that the versions are of.
            metrics: Of this process.

        Raises:
            Invalid: A feature cannot be made from a column of its declared type.
        """
        self.signature = signature
        self._encoder = encoder
        self._versions = versions
        self._readers = readers
        self._metrics = metrics
        check_encoder(signature, encoder)

    @property
    def kept(self) -> list[int]:
        """Numbers of the versions that can be asked for, newest first."""
        return self._versions.kept

    @property
    def version(self) -> int | None:
        """Number of the version that answers; None before the first."""
        return next(iter(self._versions.kept), None)

    def check_model(self, name: str) -> None:
        """Refuses any name but this model's."""
        ours = self.signature.model
        if name != ours:
            raise Refused(f"model {shown(name)} is not served{nearest(name, [ours])}", status=NOT_FOUND, wanted=ours)

    def check_version(self, version: int | None) -> int:
        """The number of the version that would answer.

        Args:
            version: The one asked for; None for the newest.

        Raises:
            Refused: It is not kept here.
            Unavailable: None answers yet.
        """
        return self._find(version).version.number

    def _find(self, version: int | None, at_least: int | None = None) -> Published:
        found = self._versions.read() if version is None else self._versions.find(version)
        if found is None:
            kept = ", ".join(map(str, self._versions.kept))
            raise Refused(f"version {version} is not served", status=NOT_FOUND, wanted=f"version {kept}, or none")
        if at_least is not None and found.version.number < at_least:
            raise Refused(
                f"version {found.version.number} answers",
                status=NOT_READY,
                wanted=f"at least version {at_least}",
                cure="ask again, or another replica; one that is pinned gets there when the pin ends",
            )
        return found

    def predict(self, question: Question, version: int | None = None, at_least: int | None = None) -> Prediction:
        """Scores the candidates, all of them with one version.

        Args:
            question: Columns that the signature has checked.
            version: The version asked for; None for the newest.
            at_least: The oldest version that may answer; None for any. Who has seen version X answer, or has committed
                it, asks for X and never reads older than that, whichever replica it reaches.

        Raises:
            Refused: That version is not kept here, only older ones are, or a prediction is not finite.
            Unavailable: No version answers yet.
        """
        prediction, absent = self._score(question, version, at_least)
        self._metrics.observe("springtide_replica_candidates", question.rows)
        if absent:
            self._metrics.inc("springtide_replica_unknown_keys_total", absent)
        return prediction

    def score(self, question: Question, version: int) -> Prediction:
        """What ``version`` would answer; counts as no request. Raises as :meth:`predict`."""
        return self._score(question, version, None)[0]

    def _score(self, question: Question, version: int | None, at_least: int | None) -> tuple[Prediction, int]:
        """The prediction, and how many unique keys had no row."""
        current = self._find(version, at_least)
        number = current.version.number
        program = current.version.program
        shared = self.signature.user_fields <= question.shared
        halves = program.looked_up if shared else None
        with self._readers.reader() as reader:
            if halves is None:
                encoded = self._encoder.encode(question.arrow(), question.rows)
                rows = reader.lookup(current.version.statistics.scale(encoded), current.rows)
                values = program.predict(rows, shared=shared)
            else:
                encoded = self._encoder.encode_to_read(question.columns, question.rows)
                batch = current.version.statistics.scale(encoded)
                apart = self._readers.halves(halves.split)
                values = halves.predict_looked_up(
                    question.rows, lambda own, once: reader.lookup_halves(batch, current.rows, apart, own, once)
                )
            absent = reader.absent
        if not np.isfinite(values).all():
            finite = np.isfinite(values).all(axis=1)
            raise Refused(
                f"the prediction of candidate {int(np.argmin(finite))} is not a finite number in version {number}",
                status=UNPROCESSABLE,
                cure="send smaller numbers; if all are small, roll the model back",
            )
        return Prediction(number, values), absent


def version_asked(text: str | None) -> int | None:
    """The number of a version in a path or field.

    Raises:
        Refused: It is no number, so that no such version is served.
    """
    if text is None:
        return None
    if not _is_number(text):
        raise Refused(f"version {shown(text)} is not served", status=NOT_FOUND, wanted="a number")
    return int(text)


def version_in_header(name: str, text: str | None) -> int | None:
    """The number of a version in the header ``name``; None where there is no such header.

    Raises:
        Refused: It is no number.
    """
    if text is None:
        return None
    if not _is_number(text):
        raise Refused(f"{name} is {shown(text)}", wanted="the number of a version")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < LARGEST_DIGITS
