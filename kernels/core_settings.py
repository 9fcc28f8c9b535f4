"""Checked settings as the C++ core takes them; knows both forms, decides nothing."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from kernels import _core
from kernels.lifecycle_settings import AdmissionSettings, EvictionSettings
from kernels.optimizer_settings import OptimizerSettings
from kernels.settings import TableSettings


def core_optimizer(settings: OptimizerSettings) -> _core.OptimizerSettings:
    """One rule with its schedule."""
    return _core.OptimizerSettings(
        kind=_core.OptimizerKind[settings.kind],
        learning_rate=settings.learning_rate,
        initial_accumulator=settings.initial_accumulator,
        beta1=settings.beta1,
        beta2=settings.beta2,
        epsilon=settings.epsilon,
        weight_decay=settings.weight_decay,
        l1=settings.l1,
        l2=settings.l2,
        l21=settings.l21,
        beta=settings.beta,
        decay_rate=settings.decay_rate,
        decay_steps=settings.decay_steps,
        schedule=_core.ScheduleKind[settings.schedule.kind],
        warmup=settings.schedule.warmup,
        steps=settings.schedule.steps,
        factor=settings.schedule.factor,
    )


def core_table(table: TableSettings) -> _core.TableSettings:
    """One table with all that belongs to it."""
    return _core.TableSettings(
        name=table.name,
        dims=table.dims,
        thresholds=table.thresholds,
        seed=table.seed % 2**64,
        precision=_core.Precision[table.precision],
        initializer=_core.InitializerKind[table.initializer.kind],
        scale=table.initializer.scale,
        optimizer=core_optimizer(table.optimizer),
        admission=_admission(table.admission),
        eviction=_eviction(table.eviction),
    )


def core_space(table: TableSettings, first: int) -> _core.SpaceSettings:
    """How the rows of ``table`` stand in its stored tables, which begin at position ``first``."""
    if table.adaptive is not None:
        return _core.SpaceSettings(_core.RowShape.adaptive, first, first + 1, table.adaptive.rows, 1)
    if table.multi_hash is not None:
        parts = table.multi_hash
        return _core.SpaceSettings(_core.RowShape[parts.combine], first, first + 1, parts.remainders, parts.quotients)
    return _core.SpaceSettings(_core.RowShape.own, first, first, 1, 1)


def _admission(settings: AdmissionSettings) -> _core.AdmissionSettings:
    bloom = settings.kind == "bloom"
    return _core.AdmissionSettings(
        kind=_core.AdmissionKind[settings.kind],
        occurrences=settings.occurrences,
        blocks=settings.filter_blocks if bloom else 1,
        hashes=settings.filter_hashes if bloom else 1,
        period_ms=settings.period_ms,
        probability=settings.probability,
        not_admitted=settings.not_admitted,
    )


def _eviction(settings: EvictionSettings) -> _core.EvictionSettings:
    return _core.EvictionSettings(
        step_ttl=settings.step_ttl,
        time_ttl_ms=settings.time_ttl_ms,
        half_norm=-1.0 if settings.half_norm is None else settings.half_norm,
        max_rows=settings.max_rows,
        order=_core.EvictionOrder[settings.order],
        slice=settings.rows_per_step,
    )
