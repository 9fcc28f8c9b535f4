"""Answers a question from the newest version: columns to ids, ids to rows, rows to predictions; knows no protocol."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pyarrow as pa

from infra.errors import Invalid
from infra.metrics import Metrics
from kernels.features import FeatureEncoder
from serving.prediction import Prediction, Question
from serving.refusals import NOT_FOUND, UNPROCESSABLE, Refused
from serving.signature import Signature
from serving.snapshot import Switch


class Predictor:
    """Answers questions, from many threads at once."""

    def __init__(self, signature: Signature, encoder: FeatureEncoder, switch: Switch, metrics: Metrics) -> None:
        """Checks that the features can be made from the declared columns.

        Args:
            signature: What a question must hold.
            encoder: Turns columns into ids and numbers, as it does for the learner.
            switch: Where the newest snapshot is found.
            metrics: Of this process.

        Raises:
            Invalid: A feature cannot be made from a column of its declared type.
        """
        self.signature = signature
        self._encoder = encoder
        self._switch = switch
        self._metrics = metrics
        try:
            encoder.encode({column.name: pa.array([None], column.arrow_type) for column in signature.columns})
        except (KeyError, ValueError) as error:
            raise Invalid(
                str(error), where="pipeline.yaml", cure="change the feature's kind or the type of its field"
            ) from error

    @property
    def version(self) -> int | None:
        """Number of the version that answers; None before the first."""
        version = self._switch.version
        return None if version is None else version.number

    def check_version(self, version: int | None) -> int:
        """The number of the version that answers.

        Args:
            version: The one asked for; None for the newest.

        Raises:
            Refused: It is not the one that answers.
            Unavailable: None answers yet.
        """
        with self._switch.read() as snapshot:
            return _checked(version, snapshot.version.number)

    def predict(self, question: Question, version: int | None = None) -> Prediction:
        """Scores the candidates, all of them with one version.

        Args:
            question: Columns that the signature has checked.
            version: The version asked for; None for the newest.

        Raises:
            Refused: Another version answers, or a prediction is not finite.
            Unavailable: No version answers yet.
        """
        encoded = self._encoder.encode(question.columns)
        with self._switch.read() as snapshot:
            number = _checked(version, snapshot.version.number)
            batch = snapshot.version.statistics.scale(encoded)
            with snapshot.reader() as reader:
                values = snapshot.version.program.predict(reader.lookup(batch))
                absent = reader.absent
        self._metrics.observe("springtide_replica_candidates", question.rows)
        if absent:
            self._metrics.inc("springtide_replica_unknown_keys_total", absent)
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            raise Refused(
                f"the prediction of candidate {int(np.argmin(finite))} is not a finite number in version {number}",
                status=UNPROCESSABLE,
                cure="send smaller numbers; if all are small, roll the model back",
            )
        return Prediction(number, values)


def _checked(wanted: int | None, served: int) -> int:
    if wanted is not None and wanted != served:
        raise Refused(f"version {wanted} is not served", status=NOT_FOUND, wanted=f"version {served}, or none")
    return served
