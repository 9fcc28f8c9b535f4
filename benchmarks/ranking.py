"""How well scores rank clicks, over all rows and within each page, with standard errors; knows no model."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 200


def weighted_auc(scores: Floats, clicked: NDArray[np.bool_], weights: Floats) -> float:
    """Chance that a clicked row scores above one that was not, ties counted half, each row ``weights`` times."""
    _, place = np.unique(scores, return_inverse=True)
    positive = np.bincount(place, weights * clicked)
    negative = np.bincount(place, weights * ~clicked)
    below = np.cumsum(negative) - negative
    pairs = positive.sum() * negative.sum()
    return float(((below + negative / 2) * positive).sum() / pairs) if pairs else float("nan")


@dataclass(frozen=True)
class Scored:
    """Rows in the order of their pages.

    Args:
        scores: ``[n]``.
        clicked: ``[n]``.
        pages: ``[n]``, the page of each row, 0, 1, 2 and so on without a gap.
    """

    scores: Floats
    clicked: NDArray[np.bool_]
    pages: NDArray[np.int64]

    def auc(self, counts: Floats | None = None) -> float:
        """Over all rows; ``counts`` ``[pages]`` says how often each page counts."""
        weights = np.ones(len(self.scores)) if counts is None else counts[self.pages]
        return weighted_auc(self.scores, self.clicked, weights)

    def within(self) -> Floats:
        """The AUC of each page ``[pages]``, NaN where all of it was clicked or none."""
        bounds = np.flatnonzero(np.diff(self.pages, prepend=-1, append=-1))
        pieces = zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
        return np.array(
            [weighted_auc(self.scores[a:b], self.clicked[a:b], np.ones(b - a)) for a, b in pieces], np.float64
        )


@dataclass(frozen=True)
class Difference:
    """A mean with the standard error that resampled pages give it."""

    value: float
    error: float


def auc_difference(one: Scored, other: Scored, seed: int = 1) -> Difference:
    """AUC of ``one`` less that of ``other`` on the same rows; pages are drawn with replacement for the error."""
    drawn = [one.auc(counts) - other.auc(counts) for counts in _resampled(one, seed)]
    return Difference(one.auc() - other.auc(), float(np.std(drawn)))


def auc_error(scored: Scored, seed: int = 1) -> float:
    """Standard error of the AUC, pages drawn with replacement."""
    return float(np.std([scored.auc(counts) for counts in _resampled(scored, seed)]))


def within_difference(one: Scored, other: Scored) -> Difference:
    """Mean over the pages of the difference of their AUCs."""
    return _mean(one.within() - other.within())


def within_mean(scored: Scored) -> Difference:
    """Mean over the pages of their AUC."""
    return _mean(scored.within())


def _mean(values: Floats) -> Difference:
    known = values[~np.isnan(values)]
    return Difference(float(known.mean()), float(known.std(ddof=1) / np.sqrt(len(known))))


def _resampled(scored: Scored, seed: int) -> list[Floats]:
    generator = np.random.default_rng(seed)
    pages = int(scored.pages.max()) + 1
    return [
        np.bincount(generator.integers(0, pages, pages), minlength=pages).astype(np.float64) for _ in range(RESAMPLES)
    ]
