"""Builds encoder and tables from the spec, once for learner and replicas alike; knows both, trains neither."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from infra.spec import IdFeature as IdSpec
from infra.spec import Pipeline
from kernels.features import FeatureEncoder, IdFeature, NumberFeature
from kernels.tables import EmbeddingTables, InitializerSettings, OptimizerSettings, TableSettings


def build_encoder(pipeline: Pipeline) -> FeatureEncoder:
    """The encoder that turns named columns into ids and numbers, in the order of ``features``."""
    return FeatureEncoder(
        [
            IdFeature(feature.name, feature.source, feature.table, feature.combiner)
            if isinstance(feature, IdSpec)
            else NumberFeature(feature.name, feature.source, feature.scaling)
            for feature in pipeline.features
        ]
    )


def build_tables(pipeline: Pipeline, encoder: FeatureEncoder, *, max_batch: int, trainable: bool) -> EmbeddingTables:
    """Empty tables with the layout that ``encoder`` fills.

    Args:
        pipeline: The spec; its seed makes the initial rows of learner and replicas the same.
        encoder: The encoder of :func:`build_encoder`.
        max_batch: Most samples, or candidates, in one call.
        trainable: True for a learner; False for a replica, whose rows have no optimizer state.
    """
    settings = [
        TableSettings(
            name=table.name,
            dim=table.dim,
            seed=pipeline.learner.seed,
            initializer=InitializerSettings(**table.initializer.model_dump()),
            optimizer=OptimizerSettings(**table.optimizer.model_dump()),
        )
        for table in pipeline.tables
    ]
    threads = pipeline.learner.threads if trainable else 1
    return EmbeddingTables(
        settings, encoder.columns, encoder.numbers, max_batch=max_batch, threads=threads, trainable=trainable
    )
