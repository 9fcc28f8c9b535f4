"""Adds up progressive quality by slice and label over the newest versions; must not know what a slice means."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from checkpointing.manifest import Manifest
from checkpointing.quality import Quality
from dashboard.versions import REMEMBERED

# The sums go by spans of versions: the window moves when one is full, and its oldest goes.
SPAN: Final = 100
SPANS: Final = REMEMBERED // SPAN
# Slices added up in one span, and rows shown: those with the most samples. The rest is counted, not hidden.
MOST_KNOWN: Final = 300
MOST_SHOWN: Final = 40


@dataclass
class _Span:
    first: int
    last: int = 0
    sums: dict[str, Quality] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)


class QualityBySlice:
    """Exact sums per slice (``column=value``) and per further label, over the versions that the page remembers.

    Nothing of it is kept: a page that starts reads at least as many versions back as the window holds.
    """

    def __init__(self) -> None:
        self._full: deque[_Span] = deque()
        self._before: dict[str, Quality] = {}  # the sums of the full spans
        self._span: _Span | None = None

    def add(self, manifests: Iterable[Manifest]) -> None:
        """Adds the increments of ``manifests``, which follow one another."""
        for manifest in manifests:
            span = self._begun(manifest.version)
            span.last = manifest.version
            for bucket in manifest.metrics.values():
                for name, sums in _parts(bucket):
                    if name in span.sums or len(span.sums) < MOST_KNOWN:
                        span.sums.setdefault(name, Quality()).add(Quality.from_json(sums))
                    else:
                        span.others.add(name)

    def section(self) -> dict[str, Any] | None:
        """The window's versions, one row a slice by name, and how many slices are left out; None before a version."""
        if self._span is None:
            return None
        spans = [*self._full, self._span]
        found = _added(self._before, self._span.sums)
        shown = sorted(found, key=lambda name: (-found[name].samples, name))[:MOST_SHOWN]
        names = found.keys() | {name for span in spans for name in span.others}
        return {
            "from_version": spans[0].first,
            "through_version": self._span.last,
            "left_out": len(names) - len(shown),
            "rows": [_row(name, found[name]) for name in sorted(shown)],
        }

    def _begun(self, version: int) -> _Span:
        """The span that takes ``version``."""
        if self._span is not None and version < self._span.first + SPAN:
            return self._span
        if self._span is not None:
            self._full.append(self._span)
            if len(self._full) > SPANS:
                self._full.popleft()
            self._before = {}
            for span in self._full:
                self._before = _added(self._before, span.sums)
        self._span = _Span(version)
        return self._span


def _added(some: Mapping[str, Quality], others: Mapping[str, Quality]) -> dict[str, Quality]:
    """Both, name by name; neither is changed."""
    sums: dict[str, Quality] = {}
    for each in (some, others):
        for name, quality in each.items():
            sums.setdefault(name, Quality()).add(quality)
    return sums


def _row(name: str, quality: Quality) -> dict[str, Any]:
    return {
        "name": name,
        "samples": quality.samples,
        "positives": quality.positives,
        "auc": _short(quality.auc),
        "log_loss": _short(quality.log_loss),
        "calibration": _short(quality.calibration),
    }


def _parts(bucket: object) -> Iterator[tuple[str, Any]]:
    if not isinstance(bucket, Mapping):
        return
    yield from bucket.get("labels", {}).items()
    for column, values in bucket.get("slices", {}).items():
        for value, sums in values.items():
            yield f"{column}={value}", sums


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
