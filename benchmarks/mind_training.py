"""The real trainer on MIND's stream with labels that come late, asked as a replica is asked; knows no Kafka."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from benchmarks.mind_stream import Arrival, MindStream, Page
from infra import spec
from infra.kafka.batch import Batch
from learner.assembly import build_trainer
from learner.export import digest, export_graph
from learner.trainer import Trainer
from serving.dense_program import DenseGraph
from springtide.datasets.mind import Mind
from springtide.wiring import build_encoder, build_tables
from streaming.sample import ARROW_TYPES


def mind_pipeline(dataset: Mind) -> spec.Pipeline:
    """The data set's own pipeline, with topics that nobody reads."""
    document = dataset.document()
    topic = {"key": "impression_id", "time": "ts"}
    document["events"]["impressions"] |= topic | {"topic": "shown"}
    document["events"]["feedback"] = [topic | {"topic": "clicks", "name": "click"}]
    return spec.Pipeline.model_validate(
        document | {"name": "mind", "kafka": {"bootstrap": "nowhere:9092"}, "store": {"url": "memory://mind"}}
    )


class LateLabels:
    """One learner whose labels reach it ``delay_ms`` after they are known, and none after ``until_ms``.

    Args:
        stream: The log.
        pipeline: Its pipeline.
        delay_ms: How much later than known.
        until_ms: When the learner stops; None: never.
    """

    def __init__(self, stream: MindStream, pipeline: spec.Pipeline, delay_ms: int, until_ms: int | None = None) -> None:
        self._stream = stream
        self._pipeline = pipeline
        self._delay_ms = delay_ms
        self._until_ms = until_ms
        self._batch = pipeline.learner.max_batch
        self._encoder = build_encoder(pipeline)
        tables = build_tables(pipeline, self._encoder, max_batch=self._batch, trainable=True)
        self._trainer: Trainer = build_trainer(pipeline, self._encoder, tables)
        self._reader = tables.reader()
        content = export_graph(self._trainer.step.model, tables.stride, self._trainer.step.loss.serve)
        self._program = DenseGraph(content, digest(content))

    def scores(self) -> list[float]:
        """What the scored rows are answered with, each page by what has arrived before it is shown."""
        stream, arrivals, next_arrival = self._stream, self._stream.arrivals, 0
        scores: list[float] = []
        for place, page in enumerate(stream.pages):
            end = next_arrival
            latest = page.shown_ms if self._until_ms is None else min(page.shown_ms, self._until_ms)
            while end < len(arrivals) and arrivals[end].known_ms + self._delay_ms <= latest:
                end += 1
            scored = place >= stream.scored
            # Before the scored part nobody asks, so that batches may wait until they are full.
            while end - next_arrival >= (1 if scored else self._batch):
                last = min(next_arrival + self._batch, end)
                self._learn(arrivals[next_arrival:last], next_arrival)
                next_arrival = last
            if scored:
                scores += self._answer(page)
        return scores

    def _learn(self, arrivals: Sequence[Arrival], first: int) -> None:
        offsets = np.arange(first, first + len(arrivals), dtype=np.int64)
        came_ms = np.array([arrival.known_ms + self._delay_ms for arrival in arrivals], np.int64)
        values: list[bytes | None] = [orjson.dumps(self._stream.message(arrival)) for arrival in arrivals]
        self._trainer.train(
            Batch("samples", np.zeros(len(arrivals), np.int32), offsets, came_ms, [None] * len(arrivals), values)
        )

    def _answer(self, page: Page) -> list[float]:
        """As a replica answers: the same encoder, the running statistics, the stored program with today's weights."""
        columns: dict[str, Any] = {
            field.name: pa.array(
                [row.fields[field.name] for row in self._stream.rows[page.begin : page.end]], ARROW_TYPES[field.type]
            )
            for field in self._pipeline.events.impressions.fields
        }
        encoded = self._trainer.statistics.scale(self._encoder.encode(columns))
        scores: list[float] = []
        program = self._program.bind(self._trainer.step.dense())  # type: ignore[arg-type]
        for begin in range(0, encoded.rows, self._batch):
            part = encoded.part(begin, min(begin + self._batch, encoded.rows))
            scores += program.predict(self._reader.lookup(part))[:, 0].tolist()
        return scores
