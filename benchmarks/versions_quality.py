"""What int8 rows cost in ranking quality, on MovieLens, by the same model with and without them."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import statistics
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.figures import Figure
from checkpointing.precision import from_int8, to_int8
from infra.spec import Pipeline
from kernels.features import RunningStatistics
from kernels.tables import EmbeddingTables, EncodedBatch
from learner.assembly import build_trainer
from learner.trainer import Trainer
from springtide.datasets.movielens import MovieLens
from springtide.wiring import build_encoder, build_tables

DATA = Path(".springtide/data")
BATCH = 64
TRAINED = 0.8
# Student's t, two-sided 95 %, by degrees of freedom.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def figures(seeds: int) -> list[Figure]:
    """The upper end of the 95 % interval of the paired difference in AUC."""
    dataset = MovieLens.load(DATA)
    events = list(dataset.events())
    labels = np.array([event.click_after is not None for event in events], np.float32)
    names = [field["name"] for field in dataset.document()["events"]["impressions"]["fields"]]
    columns = pa.table({name: pa.array([event.fields[name] for event in events]) for name in names})
    pairs = [_aucs(dataset, columns, labels, seed) for seed in range(1, seeds + 1)]
    differences = [whole - small for whole, small in pairs]
    spread = statistics.stdev(differences) if len(differences) > 1 else float("inf")
    bound = statistics.mean(differences) + STUDENT.get(seeds - 1, 2.262) * spread / seeds**0.5
    load = f"MovieLens, last fifth, {seeds} seeds; float32 AUC {statistics.mean(whole for whole, _ in pairs):.4f}"
    return [
        Figure("int8_auc_cost", bound, "AUC", 0.0005, "<=", load),
        Figure("int8_auc_cost_mean", statistics.mean(differences), "AUC", None, "<=", load),
    ]


def _pipeline(dataset: MovieLens, seed: int) -> Pipeline:
    document = dataset.document()
    document["events"]["impressions"] |= {"topic": "i", "key": "id", "time": "at"}
    document["events"]["feedback"] = [{"name": "click", "topic": "c", "key": "id", "time": "at"}]
    document |= {"name": "movielens", "kafka": {"bootstrap": "none:9092"}, "store": {"url": "memory://bench"}}
    document["learner"] = {"seed": seed, "max_batch": BATCH}
    return Pipeline.model_validate(document)


def _aucs(dataset: MovieLens, columns: pa.Table, labels: NDArray[np.float32], seed: int) -> tuple[float, float]:
    pipeline = _pipeline(dataset, seed)
    encoder = build_encoder(pipeline)
    trainer = build_trainer(pipeline, encoder, build_tables(pipeline, encoder, max_batch=BATCH, trainable=True))
    split = int(len(labels) * TRAINED)
    for begin in range(0, split, BATCH):
        end = min(begin + BATCH, split)
        scaled = _encoded(trainer, columns, begin, end, learn=True)
        trainer.tables.prepare(scaled)
        rows = trainer.tables.lookup()
        result = trainer.step(trainer.tables.buffer[:rows], labels[begin:end, None], np.ones(rows, np.float32))
        trainer.tables.apply(result.gradient, 1)
    found = []
    for small in (False, True):
        replica = build_tables(pipeline, encoder, max_batch=BATCH, trainable=False)
        for table in trainer.tables.tables:
            rows_of = trainer.tables.export(table.name)
            values = from_int8(*to_int8(rows_of.values)) if small else rows_of.values
            replica.import_rows(dataclasses.replace(rows_of, values=values))
        found.append(_auc(_predictions(trainer, replica, columns, split, len(labels)), labels[split:]))
    return found[0], found[1]


def _encoded(trainer: Trainer, columns: pa.Table, begin: int, end: int, *, learn: bool) -> EncodedBatch:
    part = columns.slice(begin, end - begin).combine_chunks()
    encoded = trainer.encoder.encode(dict(zip(part.column_names, part.columns, strict=True)))
    statistics_now: RunningStatistics = trainer.statistics
    scaled: EncodedBatch = statistics_now.scale(encoded)
    if learn:
        statistics_now.update(encoded)
    return scaled


def _predictions(
    trainer: Trainer, replica: EmbeddingTables, columns: pa.Table, begin: int, end: int
) -> NDArray[np.float32]:
    reader, found = replica.reader(), []
    for at in range(begin, end, BATCH):
        rows = reader.lookup(_encoded(trainer, columns, at, min(at + BATCH, end), learn=False))
        found.append(np.asarray(trainer.step.model(np.array(rows), training=False))[:, 0])
    return np.concatenate(found)


def _auc(scores: NDArray[np.float32], labels: NDArray[np.float32]) -> float:
    """Exact, ties at half."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    positives = labels > 0
    count = int(positives.sum())
    return float((ranks[positives].sum() - count * (count + 1) / 2) / (count * (len(labels) - count)))
