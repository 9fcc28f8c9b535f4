"""Increments that accumulate over versions become one: windows of ids and maps of counts; must not know packs."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from checkpointing.content import Array
from infra.errors import Invalid

# Arrays `<map>/keys` and `<map>/<part>` of one length: of equal keys the last counts; one that occurs 0 times is gone.
KEYS: Final = "/keys"
OCCURRENCES: Final = "/occurrences"


def joined_sample_ids(increments: Sequence[Mapping[str, Array]], window_ms: int | None) -> dict[str, Array]:
    """The increments as one, oldest first, without what has left the window or was counted anew.

    Args:
        increments: By name, as versions hold them.
        window_ms: How long ids are remembered, of arrays int64 [n, 2] (stream time, id); None keeps them all.

    Raises:
        Invalid: Two increments of one name cannot be joined.
    """
    joined: dict[str, Array] = {}
    for name in dict.fromkeys(name for increment in increments for name in increment):
        arrays = [increment[name] for increment in increments if name in increment]
        try:
            array = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
        except ValueError as error:
            raise Invalid(f"sample ids `{name}` cannot be joined: {error}", where="compaction") from error
        if window_ms is not None and array.dtype == np.int64 and array.ndim == 2 and array.shape[1] == 2 and len(array):
            array = array[array[:, 0] >= array[:, 0].max() - window_ms]
        joined[name] = array
    for name in [name for name in joined if name.endswith(KEYS) and joined[name].ndim == 1]:
        _keep_last(joined, name.removesuffix(KEYS))
    return joined


def _keep_last(joined: dict[str, Array], name: str) -> None:
    keys = joined[name + KEYS]
    parts = [part for part in joined if part.startswith(f"{name}/") and len(joined[part]) == len(keys)]
    _, from_the_end = np.unique(keys[::-1], return_index=True)
    last = np.sort(len(keys) - 1 - from_the_end)
    occurrences = joined.get(name + OCCURRENCES)
    if occurrences is not None and len(occurrences) == len(keys):
        last = last[occurrences[last] > 0]
    for part in parts:
        joined[part] = joined[part][last]
