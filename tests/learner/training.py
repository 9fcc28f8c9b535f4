"""A trainer without Kafka and store; knows how one is put together for a test."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from infra import spec
from learner.assembly import build_trainer
from learner.trainer import Trainer
from springtide.wiring import build_encoder, build_tables
from tests.learner.messages import pipeline


def make_trainer(settings: spec.Pipeline | None = None, kernel_threads: int = 1) -> Trainer:
    """A trainer in its first state."""
    settings = settings or pipeline()
    encoder = build_encoder(settings)
    more = settings.learner.model_copy(update={"threads": kernel_threads})
    tables = build_tables(
        settings.model_copy(update={"learner": more}),
        encoder,
        max_batch=settings.learner.max_batch,
        trainable=True,
    )
    return build_trainer(settings, encoder, tables)
