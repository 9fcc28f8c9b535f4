"""Gathers at a capture what the gate will judge it by; must not know how it is judged."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from learner.gate import QualityGate
from learner.trainer import Trainer
from learner.witness import Evidence


def gather(
    trainer: Trainer, gate: QualityGate, dense: Mapping[str, npt.NDArray[Any]], metrics: Mapping[str, Any]
) -> Evidence | None:
    """The newest samples, scored by the rows and weights of now, and what all since the last capture showed.

    Costs one lookup and one forward pass of as many samples as the gate keeps.

    Args:
        trainer: At a step boundary.
        gate: Knows which samples it wants; not judging now.
        dense: The dense weights of now.
        metrics: Progressive metrics since the last capture, in the manifest's form.
    """
    if trainer.witness is None:
        return None
    newest, seen, known_ms, passed_ms = trainer.witness.take()
    chunks = gate.witnesses(newest) if newest else ()
    nothing = np.empty((0, len(seen.known)), np.float32)
    losses, predictions = nothing, nothing
    if gate.reference is not None and not gate.reference.given_up:
        losses, predictions = gate.reference.score_live(chunks, dense)
    buckets = {int(start): (int(sums["samples"]), int(sums["positives"])) for start, sums in metrics.items()}
    return Evidence(chunks, seen, known_ms, passed_ms, losses, predictions, buckets, len(chunks) - len(newest))
