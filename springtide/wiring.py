"""Builds encoder and tables from the spec, once for learner and replicas alike; knows both, trains neither."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping

from infra import spec
from infra.errors import Invalid
from infra.spec import Pipeline, Table
from kernels.features import BucketFeature, CrossFeature, Feature, FeatureEncoder, IdFeature, NumberFeature
from kernels.tables import (
    AdaptiveRows,
    AdmissionSettings,
    EmbeddingTables,
    EvictionSettings,
    InitializerSettings,
    MultiHash,
    OptimizerSettings,
    Rung,
    TableSettings,
)


def build_encoder(pipeline: Pipeline) -> FeatureEncoder:
    """The encoder that turns named columns into ids and numbers, in the order of ``features``."""
    types = {field.name: field.type for field in pipeline.events.impressions.fields}
    return FeatureEncoder([_feature(feature, types) for feature in pipeline.features])


def _feature(feature: spec.Feature, types: Mapping[str, spec.FieldType]) -> Feature:
    match feature:
        case spec.IdFeature():
            integers = types[feature.source] in {"integer", "list[integer]"}
            words = tuple(int(word) if integers else word for word in feature.vocabulary)
            return IdFeature(
                feature.name, feature.source, feature.table, feature.combiner, words, feature.length, feature.keep
            )
        case spec.CrossFeature():
            return CrossFeature(feature.name, feature.sources, feature.table, feature.combiner)
        case spec.BucketFeature():
            return BucketFeature(feature.name, feature.source, feature.table, feature.boundaries)
        case spec.NumberFeature():
            return NumberFeature(feature.name, feature.source, feature.scaling)


def table_settings(pipeline: Pipeline) -> list[TableSettings]:
    """What the spec says of each table, as the kernels take it.

    Raises:
        Invalid: Settings that do not fit together, such as an admission that would never admit.
    """
    settings = []
    try:
        OptimizerSettings.of(pipeline.model.optimizer.model_dump())
    except ValueError as error:
        raise Invalid(str(error), where="model.optimizer") from error
    for index, table in enumerate(pipeline.tables):
        try:
            settings.append(_settings(table, pipeline.learner.seed))
        except ValueError as error:
            raise Invalid(str(error), where=f"tables[{index}]") from error
    return settings


def _settings(table: Table, seed: int) -> TableSettings:
    admission, eviction = table.admission, table.eviction
    return TableSettings(
        name=table.name,
        dim=table.dim,
        seed=seed,
        initializer=InitializerSettings(**table.initializer.model_dump()),
        optimizer=OptimizerSettings.of(table.optimizer.model_dump()),
        precision=table.precision,
        ladder=tuple(Rung(rung.dim, rung.until) for rung in table.ladder),
        admission=AdmissionSettings(**admission.model_dump(exclude={"period"}), period_ms=admission.period.ms),
        eviction=EvictionSettings(**eviction.model_dump(exclude={"time_ttl"}), time_ttl_ms=eviction.time_ttl.ms),
        adaptive=None if table.adaptive is None else AdaptiveRows(**table.adaptive.model_dump()),
        multi_hash=None if table.multi_hash is None else MultiHash(**table.multi_hash.model_dump()),
    )


def build_tables(pipeline: Pipeline, encoder: FeatureEncoder, *, max_batch: int, trainable: bool) -> EmbeddingTables:
    """Empty tables with the layout that ``encoder`` fills.

    Args:
        pipeline: The spec; its seed makes the initial rows of learner and replicas the same.
        encoder: The encoder of :func:`build_encoder`.
        max_batch: Most samples, or candidates, in one call.
        trainable: True for a learner; False for a replica, whose rows have no optimizer state.

    Raises:
        Invalid: Settings of a table that do not fit together.
    """
    settings = table_settings(pipeline)
    threads = pipeline.learner.threads if trainable else 1
    return EmbeddingTables(
        settings, encoder.columns, encoder.numbers, max_batch=max_batch, threads=threads, trainable=trainable
    )
