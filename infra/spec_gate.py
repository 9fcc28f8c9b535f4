"""What a pipeline.yaml may say about when a version must wait; must not know how any of it is judged."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pydantic import Field

from infra.spec_part import Part
from infra.units import ByteSize


class Gate(Part):
    """How far a version may depart from the last servable one; null turns a check off."""

    # Log loss on the same newest samples: worse by this share.
    log_loss: float | None = Field(default=0.5, gt=0)
    # Calibration on the same samples: farther from 1, by this factor.
    calibration: float | None = Field(default=2.0, gt=1)
    # Root mean square of dense weights, or of the rows that changed: larger by this factor.
    norm: float | None = Field(default=10.0, gt=1)
    # Odds of a label: larger or smaller by this factor.
    label_rate: float | None = Field(default=3.0, gt=1)
    # Share of samples that have a column: less than this share of what it was.
    coverage: float | None = Field(default=0.5, gt=0, lt=1)
    # How many of the newest samples are scored again.
    samples: int = Field(default=256, ge=32, le=65536)
    # Above this the rows of the last servable version are not kept for scoring.
    memory: ByteSize = ByteSize("1GiB")
    # So many refused versions in a row, and the learner goes back; null: never.
    revert_after: int | None = Field(default=30, ge=1)
