"""The gate's single questions, each a plain function of counts and losses; must not know where those come from.

Every question asks for two things at once: a departure of a size that matters, and one too large for chance. Either
alone would refuse healthy traffic, the first at few samples and the second at many.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]

# Standard errors: by chance once in three million times.
UNLIKELY: Final = 5.0
# Fewer samples than these say nothing, of now and of before.
FEWEST: Final = 20
FEWEST_BEFORE: Final = 500
# What is as small as this is not worth comparing.
SMALL_NORM: Final = 0.1
SMALL_LOSS: Final = 0.05
_SMALL_SHARE: Final = 0.05


def share_departs(hits: float, count: float, hits_before: float, count_before: float) -> float:
    """How many standard errors the share ``hits / count`` lies above that of before (below: negative).

    Of a binomial of ``count`` whose chance was estimated from ``count_before``; 0 where either is too small to tell.
    """
    if count < FEWEST or count_before < FEWEST_BEFORE:
        return 0.0
    chance = min(max(hits_before / count_before, 1 / count_before), 1 - 1 / count_before)
    variance = count * chance * (1 - chance) * (1 + count / count_before)
    return (hits - count * chance) / math.sqrt(variance)


def odds_ratio(hits: float, count: float, hits_before: float, count_before: float) -> float:
    """The odds of a hit over those of before, with half a sample on each side (Haldane, 1956)."""
    now = (hits + 0.5) / (count - hits + 0.5)
    return now / ((hits_before + 0.5) / (count_before - hits_before + 0.5))


def label_rate(
    what: str, now: tuple[float, float], before: tuple[float, float], factor: float, *, falls: bool = True
) -> str | None:
    """Whether the odds of a label moved by more than ``factor``.

    Args:
        what: The label, for the answer.
        now: Samples that had the label, and how many of them 1.
        before: Likewise.
        factor: Largest ratio of odds that is let pass.
        falls: Whether a fall counts, too.
    """
    (count, hits), (count_before, hits_before) = now, before
    departs = share_departs(hits, count, hits_before, count_before)
    ratio = odds_ratio(hits, count, hits_before, count_before)
    if (departs > UNLIKELY and ratio > factor) or (falls and departs < -UNLIKELY and ratio < 1 / factor):
        return f"label rate: {what} is 1 for {hits / count:.3g} of {count:.0f}, was {hits_before / count_before:.3g}"
    return None


def coverage(column: str, now: tuple[float, float], before: tuple[float, float], least: float) -> str | None:
    """Whether a column is there for less than ``least`` of the share of samples that it was there for."""
    (count, hits), (count_before, hits_before) = now, before
    if count_before < FEWEST_BEFORE or hits_before / count_before < _SMALL_SHARE:
        return None
    if share_departs(hits, count, hits_before, count_before) < -UNLIKELY and hits / count < least * (
        hits_before / count_before
    ):
        return (
            f"coverage: `{column}` in {hits / count:.3g} of {count:.0f} samples, was {hits_before / count_before:.3g}"
        )
    return None


def log_loss(what: str, losses: Floats, reference: Floats, worse: float) -> str | None:
    """Whether losses on the same samples exceed ``reference`` by more than the share ``worse`` of it.

    A paired comparison: the mean difference over its own standard error. What is no number counts as worst.
    """
    if len(losses) < FEWEST:
        return None
    if not np.isfinite(losses).all():
        return f"log loss: {what} is not finite for {int((~np.isfinite(losses)).sum())} of {len(losses)} samples"
    difference = losses.astype(np.float64) - reference
    mean, before = float(difference.mean()), float(np.mean(reference, dtype=np.float64))
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    if mean > worse * max(before, SMALL_LOSS) and mean > UNLIKELY * error:
        return f"log loss: {what} {before + mean:.4g}, {before:.4g} by the last servable version on the same samples"
    return None


def calibration(what: str, predictions: Floats, reference: Floats, labels: Floats, factor: float) -> str | None:
    """Whether predictions over labels are farther from 1 than those of ``reference``, by more than ``factor``."""
    if len(labels) < FEWEST:
        return None
    positives = float(labels.sum())
    total, before = float(predictions.sum(dtype=np.float64)), float(reference.sum(dtype=np.float64))
    spread = math.sqrt(float((predictions * (1.0 - predictions)).sum(dtype=np.float64)) + 1.0)
    now, then = (abs(math.log((value + 0.5) / (positives + 0.5))) for value in (total, before))
    if now - then > math.log(factor) and abs(total - positives) > UNLIKELY * spread:
        ratio = f"{total / positives:.3g}" if positives else f"{total:.3g} positives for none"
        return f"calibration: {what} {ratio}, {before / max(positives, 1.0):.3g} by the last servable version"
    return None


def norm(what: str, squares: float, squares_before: float, factor: float) -> str | None:
    """Whether a root mean square grew by more than ``factor``; takes mean squares."""
    now, before = math.sqrt(squares), max(math.sqrt(squares_before), SMALL_NORM)
    return f"norm: {what} {now:.3g}, was {before:.3g}" if now > factor * before else None
