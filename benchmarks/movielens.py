"""MovieLens through the learner's own step, and what two ways of it differ by in AUC; knows no figure's target."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.ranking import weighted_auc
from infra.spec import Pipeline
from kernels.rows import TableRows
from kernels.tables import EncodedBatch
from learner.assembly import build_trainer
from learner.trainer import Trainer
from springtide.datasets.movielens import MovieLens
from springtide.wiring import build_encoder, build_tables

DATA = Path(".springtide/data")
BATCH = 64
TRAINED = 0.8
# Student's t, two-sided 95 %, by degrees of freedom.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def upper_bound(differences: Sequence[float]) -> float:
    """The upper end of the 95 % interval of the mean of paired differences, at most ten of them."""
    spread = statistics.stdev(differences) if len(differences) > 1 else float("inf")
    error = spread / math.sqrt(len(differences))
    return statistics.mean(differences) + STUDENT.get(len(differences) - 1, 2.262) * error


@dataclass
class Run:
    """A trainer that has seen the first four fifths, and the pipeline that it was built from."""

    pipeline: Pipeline
    trainer: Trainer


class Samples:
    """All impressions in their order, rating of at least 4 as the label."""

    def __init__(self) -> None:
        self._dataset = MovieLens.load(DATA)
        events = list(self._dataset.events())
        self.labels = np.array([event.click_after is not None for event in events], np.float32)
        names = [field["name"] for field in self._dataset.document()["events"]["impressions"]["fields"]]
        self._columns = pa.table({name: pa.array([event.fields[name] for event in events]) for name in names})
        self._split = int(len(self.labels) * TRAINED)

    def train(self, seed: int, tables: Callable[[dict[str, Any]], dict[str, Any]] = lambda table: table) -> Run:
        """One pass in order.

        Args:
            seed: Of initial rows and weights.
            tables: What each entry of the pipeline's ``tables`` is to be.
        """
        document = self._dataset.document()
        document["events"]["impressions"] |= {"topic": "i", "key": "id", "time": "at"}
        document["events"]["feedback"] = [{"name": "click", "topic": "c", "key": "id", "time": "at"}]
        document |= {"name": "movielens", "kafka": {"bootstrap": "none:9092"}, "store": {"url": "memory://bench"}}
        document["learner"] = {"seed": seed, "max_batch": BATCH}
        document["tables"] = [tables(table) for table in document["tables"]]
        pipeline = Pipeline.model_validate(document)
        encoder = build_encoder(pipeline)
        trainer = build_trainer(pipeline, encoder, build_tables(pipeline, encoder, max_batch=BATCH, trainable=True))
        for begin in range(0, self._split, BATCH):
            end = min(begin + BATCH, self._split)
            trainer.tables.prepare(self._encoded(trainer, begin, end, learn=True))
            rows = trainer.tables.lookup()
            inputs, labels = trainer.tables.buffer[:rows], self.labels[begin:end, None]
            trainer.tables.apply(trainer.step(inputs, labels, np.ones(rows, np.float32)).gradient, 1)
        return Run(pipeline, trainer)

    def auc(self, run: Run, as_served: Callable[[TableRows], TableRows] = lambda rows: rows) -> float:
        """Of the last fifth, answered by a replica that got the rows as ``as_served`` makes them."""
        trainer = run.trainer
        replica = build_tables(run.pipeline, trainer.encoder, max_batch=BATCH, trainable=False)
        for table in trainer.tables.tables:
            replica.import_rows(as_served(trainer.tables.export(table.name)))
        reader, found = replica.reader(), []
        for at in range(self._split, len(self.labels), BATCH):
            rows = reader.lookup(self._encoded(trainer, at, min(at + BATCH, len(self.labels)), learn=False))
            found.append(np.asarray(trainer.step.model(np.array(rows), training=False))[:, 0])
        clicked = self.labels[self._split :] > 0
        return weighted_auc(np.concatenate(found).astype(np.float64), clicked, np.ones(len(clicked)))

    def _encoded(self, trainer: Trainer, begin: int, end: int, *, learn: bool) -> EncodedBatch:
        part = self._columns.slice(begin, end - begin).combine_chunks()
        encoded = trainer.encoder.encode(dict(zip(part.column_names, part.columns, strict=True)))
        scaled: EncodedBatch = trainer.statistics.scale(encoded)
        if learn:
            trainer.statistics.update(encoded)
        return scaled
