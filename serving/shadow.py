"""Scores answered questions with another version, too, and counts how far the two differ; must not hold up an answer.

One thread at the lowest cost to requests: what comes while it is busy is skipped and counted as that.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np

from infra.errors import Unavailable
from infra.logs import logger
from infra.metrics import Metrics
from serving.prediction import Prediction, Question
from serving.predictor import Predictor
from serving.refusals import NOT_FOUND, Refused

Outcome = Literal["scored", "skipped", "not_kept", "failed"]

_log = logger()


class Shadow:
    """Of one process; any number of threads ask."""

    def __init__(self, predictor: Predictor, metrics: Metrics) -> None:
        self._predictor = predictor
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._free = threading.Lock()

    def score(self, question: Question, answered: Prediction, version: int | None) -> None:
        """Scores ``question`` with ``version``, too, a moment later; returns at once.

        Args:
            question: What was asked.
            answered: The answer that was given.
            version: The version to compare it with, one of those that can be asked for by number; None for none.
        """
        if version is None:
            return
        if not self._free.acquire(blocking=False):
            self._count("skipped")
            return
        try:
            self._pool.submit(self._compare, question, answered, version)
        except RuntimeError:  # this process is leaving
            self._free.release()

    def close(self) -> None:
        """Ends once what it has begun is done."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _compare(self, question: Question, answered: Prediction, version: int) -> None:
        try:
            other = self._predictor.score(question, version)
            difference = float(np.abs(other.values - answered.values).mean())
            self._metrics.observe("springtide_replica_shadow_difference", difference)
            self._count("scored")
        except Unavailable:
            self._count("not_kept")
        except Refused as error:
            self._count("not_kept" if error.status == NOT_FOUND else "failed")
        except Exception as error:  # noqa: BLE001 - its answer was given; the log has the whole of it
            self._count("failed")
            _log.error("shadow_failed", version=version, error=error)
        finally:
            self._free.release()

    def _count(self, outcome: Outcome) -> None:
        self._metrics.inc("springtide_replica_shadow_total", outcome=outcome)
