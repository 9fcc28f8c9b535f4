"""Adds up progressive quality by slice and by further labels; must not know what a slice means."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from checkpointing.manifest import Manifest
from checkpointing.quality import Quality
from dashboard.history import History

# The newest versions are read again at each start, so that what was added since the last save is added then.
SAVE_EVERY: Final = 60
# A column of many values would fill the page.
MOST: Final = 40
_KEPT: Final = "slices"


class QualityBySlice:
    """Exact sums per slice (``column=value``) and per further label, over every version since the first seen.

    Args:
        history: Where the sums are kept, every :data:`SAVE_EVERY` versions.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        kept = history.meta(_KEPT)
        document: Mapping[str, Any] = orjson.loads(zlib.decompress(bytes.fromhex(kept))) if kept else {}
        self._through: int = document.get("through", 0)
        self._sums = {name: Quality.from_json(sums) for name, sums in document.get("sums", {}).items()}
        self._saved = self._through

    def add(self, manifests: Iterable[Manifest]) -> None:
        """Adds the increments of ``manifests``, which follow one another; those already in are left out."""
        for manifest in manifests:
            if manifest.version <= self._through:
                continue
            self._through = manifest.version
            for bucket in manifest.metrics.values():
                for name, sums in _parts(bucket):
                    if name in self._sums or len(self._sums) < MOST:
                        self._sums.setdefault(name, Quality()).add(Quality.from_json(sums))
        if self._sums and self._through >= self._saved + SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Keeps the sums as they are."""
        sums = {name: quality.to_json() for name, quality in self._sums.items()}
        document = orjson.dumps({"through": self._through, "sums": sums})
        self._history.set_meta(_KEPT, zlib.compress(document, 1).hex())
        self._saved = self._through

    def rows(self) -> Sequence[dict[str, Any]]:
        """One row a slice, by name."""
        return [
            {
                "name": name,
                "samples": quality.samples,
                "positives": quality.positives,
                "auc": _short(quality.auc),
                "log_loss": _short(quality.log_loss),
                "calibration": _short(quality.calibration),
            }
            for name, quality in sorted(self._sums.items())
        ]


def _parts(bucket: object) -> Iterator[tuple[str, Any]]:
    if not isinstance(bucket, Mapping):
        return
    yield from bucket.get("labels", {}).items()
    for column, values in bucket.get("slices", {}).items():
        for value, sums in values.items():
            yield f"{column}={value}", sums


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
