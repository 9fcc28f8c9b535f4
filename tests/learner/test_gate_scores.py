"""What the gate makes of scores: the weights of now answer for refused samples, too, predictions of then do not."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

from checkpointing.manifest import Gate
from learner.assembly import build_gate
from learner.evidence import gather
from learner.witness import Evidence
from tests.learner.messages import batch, message, pipeline
from tests.learner.training import make_trainer

# Only scores are judged here.
SETTINGS = pipeline(gate={"label_rate": None, "coverage": None, "norm": None})
SAMPLES = 64


class Line:
    """A trainer and its gate, capture by capture."""

    def __init__(self) -> None:
        self.trainer = make_trainer(SETTINGS)
        self.gate = build_gate(SETTINGS, self.trainer)
        self._next = 0

    def capture(self, worse: float = 0.0) -> tuple[Evidence, Gate]:
        """Learns some samples and has them judged, as if each was predicted ``worse`` by so much before learning."""
        bodies = [message(number) for number in range(self._next, self._next + SAMPLES)]
        self.trainer.train(batch(bodies, self._next))
        self._next += SAMPLES
        dense = self.trainer.step.dense()
        evidence = gather(self.trainer, self.gate, dense, {})
        assert evidence is not None
        newest = (replace(chunk, losses=chunk.losses + worse) for chunk in evidence.newest)
        evidence = replace(evidence, chunks=(*evidence.chunks[: evidence.earlier], *newest))
        return evidence, self.gate.judge(self.trainer.tables.capture(), dense, True, evidence)


def test_predictions_from_before_a_refusal_do_not_bar_a_learner_that_is_well_again() -> None:
    line = Line()
    assert line.capture()[1].servable
    _, refused = line.capture(worse=1.0)
    assert [reason.split(" 1.")[0] for reason in refused.reasons] == ["log loss: label_click before learning"]
    evidence, verdict = line.capture()
    # By the weights of now the refused samples are scored, too.
    assert evidence.earlier == 1 and len(evidence.losses) == 2 * SAMPLES
    assert verdict.servable, verdict.reasons
