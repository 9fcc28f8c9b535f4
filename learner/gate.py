"""Decides before a commit whether replicas may switch to it; must not know the store or the stream."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from checkpointing.manifest import Gate
from kernels.rows import TableRows


class QualityGate:
    """Refuses versions whose accumulated state holds a number that is none.

    A replica takes over everything since the last servable version, so a row that went bad in a refused version bars
    every later one until that row is finite again or gone.
    """

    def __init__(self) -> None:
        self._broken_rows: dict[str, set[int]] = {}

    def judge(
        self, tables: Sequence[TableRows], dense: Mapping[str, npt.NDArray[Any]], log_loss_is_finite: bool
    ) -> Gate:
        """Judges the state that a commit would lead to.

        Args:
            tables: The rows that changed.
            dense: All dense weights.
            log_loss_is_finite: Whether every loss since the last capture was a number.
        """
        reasons = []
        for name, weight in dense.items():
            broken = int(np.count_nonzero(~np.isfinite(weight)))
            if broken:
                reasons.append(f"dense weight `{name}`: {broken} of {weight.size} values are not finite")
        for rows in tables:
            self.note(rows)
        reasons += [
            f"table `{table}`: {len(keys)} rows are not finite" for table, keys in self._broken_rows.items() if keys
        ]
        if not log_loss_is_finite:
            reasons.append("the log loss of a batch is not finite")
        return Gate(servable=not reasons, reasons=tuple(reasons))

    def note(self, rows: TableRows) -> None:
        """Remembers which rows are not finite; a restore passes each version's rows, oldest first."""
        known = self._broken_rows.setdefault(rows.table, set())
        finite = np.isfinite(rows.values).all(axis=1)
        if known:
            known.difference_update(rows.keys[finite].tolist(), rows.tombstones.tolist())
        if not finite.all():
            known.update(rows.keys[~finite].tolist())
