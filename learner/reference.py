"""The last servable version's rows and weights, to score newer samples with; must not know what is judged by them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from infra.logs import logger
from kernels.batch import EncodedBatch
from kernels.rows import TableRows
from kernels.tables import EmbeddingTables
from learner.scoring import Scorer
from learner.witness import Chunk

_log = logger()

Floats = npt.NDArray[np.float32]


class Reference:
    """A second set of rows, values only, as a replica has them.

    It costs their memory, up to a bound: beyond that it is given up until the next start, and what needs it is not
    judged.

    Args:
        live: The tables that learn; their settings are taken over.
        scorer: The forward pass.
        memory_bytes: The bound.
    """

    def __init__(self, live: EmbeddingTables, scorer: Scorer, memory_bytes: int) -> None:
        self._live = live
        self._scorer = scorer
        self._most_bytes = memory_bytes
        self._reader = live.reader()
        self._tables: EmbeddingTables | None = None
        self._dense: list[npt.NDArray[Any]] = []
        self.empty()

    def empty(self) -> None:
        """Forgets all rows, and begins anew."""
        live = self._live
        self._tables = EmbeddingTables(
            live.settings, live.columns, live.numbers, max_batch=live.max_batch, threads=1, trainable=False
        )
        self._dense = []

    @property
    def given_up(self) -> bool:
        """Whether the rows became too many."""
        return self._tables is None

    def take(self, rows: Iterable[TableRows], dense: Mapping[str, npt.NDArray[Any]]) -> None:
        """Moves on by what one version changed; no dense weights: they stay."""
        if dense:
            self._dense = list(dense.values())
        if self._tables is None:
            return
        for block in rows:
            self._tables.import_rows(block)
        self.bound(0)

    def bound(self, waiting: int) -> None:
        """Gives the rows up where they and ``waiting`` bytes of others, which are to come, are too many."""
        if self._tables is None:
            return
        needed = self._tables.memory_bytes() + waiting
        if needed > self._most_bytes:
            _log.warning("gate_reference_given_up", bytes=needed, most=self._most_bytes)
            self._tables = None

    def score(self, chunks: Sequence[Chunk]) -> tuple[Floats, Floats] | None:
        """Losses and predictions by the last servable version; None where it is not at hand."""
        if self._tables is None or not self._dense:
            return None
        reader = self._tables.reader()

        def rows(batch: EncodedBatch) -> Floats:
            return reader.lookup(batch).copy()

        return self._scorer.score(chunks, rows, self._dense)

    def score_live(self, chunks: Sequence[Chunk], dense: Mapping[str, npt.NDArray[Any]]) -> tuple[Floats, Floats]:
        """Losses and predictions by what the learner has now; on its own thread, between two steps."""
        return self._scorer.score(chunks, lambda batch: self._reader.lookup(batch).copy(), list(dense.values()))
