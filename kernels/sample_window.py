"""Which sample ids were already trained; must not know samples, topics or versions."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kernels import _core
from kernels.arrow_columns import hash_text

Entries = NDArray[np.int64]


class SampleIdWindow:
    """Remembers sample ids over a horizon of stream time, so that a re-delivered sample is trained once.

    Stream time is the newest ``known_ms`` seen so far. An id is remembered from its admission until stream time has
    moved on by more than the horizon. Hence the answer for a sample with ``known_ms >= stream time - horizon`` is
    exact: an earlier copy cannot have been forgotten.

    Decision "admit beyond the horizon": a sample older than that whose id is not remembered is admitted, since refusing
    it would lose data whenever one partition lags behind another, while a second copy that old needs a re-delivery
    over more than the horizon. Such samples are counted in ``beyond_horizon``, never dropped in silence.

    The answers are a pure function of the sequence of calls, and a window folded from its increments goes on exactly
    as the one that made them. Ids are kept as XXH64 hashes: among a million remembered ids a fresh one is mistaken for
    a repeat with probability 5e-14.

    Args:
        horizon_ms: How long an id is remembered, in stream time.
    """

    def __init__(self, horizon_ms: int) -> None:
        if horizon_ms < 0:
            raise ValueError(f"horizon_ms is {horizon_ms}; wanted at least 0")
        self.horizon_ms = horizon_ms
        self.beyond_horizon = 0
        self._window = _core.SeenWindow(horizon_ms)

    def __len__(self) -> int:
        """Ids remembered now."""
        return self._window.size()

    def admit(
        self, ids: pa.Array | pa.ChunkedArray | Sequence[str] | Sequence[bytes], known_ms: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """True where a sample is seen for the first time; of repeats within the call the first wins.

        Args:
            ids: n sample ids, an Arrow string array or a list of str or bytes; a str and its UTF-8 are one id.
            known_ms: int64 [n], when each label could be known.

        Raises:
            ValueError: A null id, ids that are no strings, or lengths that differ.
            MemoryError: No room; the window is as before.
        """
        if isinstance(ids, pa.ChunkedArray | pa.Array):
            array = ids
        else:
            array = pa.array([text.encode() if isinstance(text, str) else text for text in ids], pa.binary())
        if array.null_count:
            raise ValueError(
                f"{array.null_count} of {len(array)} sample ids are null; wanted a string for every sample"
            )
        hashes = hash_text(array, "sample ids")
        admitted, beyond = self._window.admit(hashes, np.ascontiguousarray(known_ms, np.int64))
        self.beyond_horizon += beyond
        return admitted

    def capture(self) -> Entries:
        """What ``import_increment`` needs beyond the captures so far: int64 [n, 2], (stream time, hash) in order.

        A hash of 0 is no id; it only moves stream time.
        """
        return self._window.capture()

    def put_back(self, increment: Entries) -> None:
        """Puts the increment of an abandoned commit before what came since, so that the next capture holds both."""
        self._window.put_back(np.ascontiguousarray(increment, np.int64))

    def export(self) -> Entries:
        """Everything still remembered, in the form of ``capture``; imported alone it gives this window again."""
        return self._window.export_entries()

    def import_increment(self, increment: Entries) -> None:
        """Folds a captured increment in; the oldest first.

        Raises:
            ValueError: Not of shape [n, 2].
            MemoryError: No room; the window is as before.
        """
        self._window.import_entries(np.ascontiguousarray(increment, np.int64))

    def memory_bytes(self) -> int:
        """Bytes behind the window."""
        return self._window.memory_bytes()
