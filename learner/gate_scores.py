"""What the gate asks of the newest samples: whether they are predicted as well as before; must not know rows."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from infra import spec
from learner import checks
from learner.reference import Reference
from learner.witness import Chunk, Evidence


def scores(
    settings: spec.Gate, labels_of: Sequence[str], reference: Reference | None, evidence: Evidence
) -> Iterator[str]:
    """Reasons for which the model itself is not believed: worse than the last servable version on the same samples.

    Args:
        settings: The bounds.
        labels_of: The label columns.
        reference: Scores with the last servable version; None: nobody does.
        evidence: The samples, and how they were scored.
    """
    if reference is None or (settings.log_loss is None and settings.calibration is None):
        return
    scored = reference.score(evidence.chunks)
    if scored is None or not evidence.chunks:
        return
    labels = np.concatenate([chunk.labels for chunk in evidence.chunks])
    # What was predicted before learning stays as it was: of an earlier capture it would bar a learner that is well.
    since = slice(sum(len(chunk.labels) for chunk in evidence.chunks[: evidence.earlier]), None)
    losses, predictions = _joined(evidence.newest, "losses", "predictions")
    by_then = {
        "before learning": (since, losses, predictions),
        "now": (slice(None), evidence.losses, evidence.predictions),
    }
    for when, (part, losses, predictions) in by_then.items():
        for place, label in enumerate(labels_of):
            known = ~np.isnan(labels[part, place])
            mine = (losses[known, place], scored[0][part][known, place])
            what = f"{label} {when}"
            if settings.log_loss is not None:
                yield from filter(None, [checks.log_loss(what, *mine, settings.log_loss)])
            if settings.calibration is not None and np.isfinite(predictions[known, place]).all():
                pair = (predictions[known, place], scored[1][part][known, place])
                truth = labels[part][known, place]
                yield from filter(None, [checks.calibration(what, *pair, truth, settings.calibration)])


def _joined(chunks: Sequence[Chunk], *names: str) -> tuple[npt.NDArray[Any], ...]:
    return tuple(np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in names)
