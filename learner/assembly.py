"""Puts a trainer together from the spec and ready-made tables; must not know Kafka or the store."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from infra import spec
from kernels import _core
from kernels.features import FeatureEncoder, RunningStatistics
from kernels.sample_window import SampleIdWindow
from kernels.tables import EmbeddingTables
from learner.decode import SampleDecoder
from learner.gate import QualityGate
from learner.gate_stream import Stream
from learner.models import IdBlock, Layout, build_model
from learner.preparation import Timer
from learner.progress import ProgressiveMetrics
from learner.reference import Reference
from learner.scoring import Scorer
from learner.step import TrainingStep
from learner.tensorflow_setup import configure, environment
from learner.trainer import Trainer
from learner.witness import Witness
from streaming.sample import label, sample_schema
from streaming.sql_sources import drift


def build_trainer(
    pipeline: spec.Pipeline,
    encoder: FeatureEncoder,
    tables: EmbeddingTables,
    timer: Timer = lambda part: nullcontext(),
) -> Trainer:
    """A trainer in its first state, which the spec's seed alone decides.

    Args:
        pipeline: The spec.
        encoder: Columns to ids and numbers, as the replicas have it.
        tables: Empty, trainable tables with the encoder's layout.
        timer: Times the parts of a step.

    Raises:
        Invalid: The model does not fit the tables.
    """
    configure(pipeline.learner.threads)
    labels = label_columns(pipeline)
    layout = layout_of(tables)
    model = build_model(pipeline.model.name, layout, len(labels), pipeline.model, pipeline.learner.seed)
    return Trainer(
        decoder=SampleDecoder(sample_schema(pipeline.events), labels),
        window=SampleIdWindow(pipeline.learner.sample_id_window.ms),
        encoder=encoder,
        statistics=RunningStatistics(encoder.features),
        tables=tables,
        step=TrainingStep(
            model,
            layout.stride,
            len(labels),
            pipeline.model.optimizer,
            pipeline.model.loss,
            pipeline.join.keep_negatives,
        ),
        metrics=ProgressiveMetrics(pipeline.learner.quality_bucket.ms, labels, pipeline.learner.quality_slices),
        timer=timer,
        staleness=pipeline.learner.staleness,
    )


def build_gate(pipeline: spec.Pipeline, trainer: Trainer) -> QualityGate:
    """The gate for versions of ``trainer``, which from now on keeps its newest samples for it."""
    tables, step, labels = trainer.tables, trainer.step, label_columns(pipeline)
    join = pipeline.join
    windows_ms = [join.windows(kind)[0].ms for kind in pipeline.events.feedback]
    stream = Stream(
        labels=tuple(labels),
        columns=trainer.encoder.sources,
        bucket_ms=pipeline.learner.quality_bucket.ms,
        window_ms=windows_ms[0],
        ahead_ms=drift(pipeline).ms,
        mode=join.labels,
    )
    trainer.witness = Witness(pipeline.gate.samples, stream.columns, windows_ms)
    scorer = Scorer(step, tables.stride, len(labels))
    return QualityGate(
        settings=pipeline.gate,
        stream=stream,
        reference=Reference(tables, scorer, pipeline.gate.memory.bytes),
        trainable=step.trainable_names,
    )


def label_columns(pipeline: spec.Pipeline) -> list[str]:
    """The label columns, in the order of the model's outputs."""
    return [label(feedback.name) for feedback in pipeline.events.feedback]


def layout_of(tables: EmbeddingTables) -> Layout:
    """Where each feature stands in the tables' buffer."""
    blocks = tuple(
        IdBlock(column.name, tables.offsets[column.name], tables.widths[column.name], column.length)
        for column in tables.columns
    )
    return Layout(stride=tables.stride, ids=blocks, numbers_offset=tables.numbers_offset, numbers=tables.numbers)


def training_environment(pipeline: spec.Pipeline) -> dict[str, Any]:
    """What a bit-identical replay needs beside the samples; manifests record it."""
    return {
        **environment(),
        "kernel_threads": pipeline.learner.threads,
        "staleness": pipeline.learner.staleness,
        "kernel_instructions": _core.instruction_set(),
    }
