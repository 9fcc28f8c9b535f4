"""How fast the learner is from Kafka's JSON against its own step on ready batches; run by `make bench-learner`."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from benchmarks.figures import Figure, report
from infra import spec
from infra.clock import SystemClock, iso
from infra.kafka.batch import Batch
from infra.local.kafka_server import KafkaServer
from infra.object_store import open_store
from tests.learner.stream import learner, make_topic, send, until
from tests.learner.training import make_trainer

COLUMNS, NUMBERS, KEYS = 26, 13, 100_000
DIM, HIDDEN, BATCH = 16, (256, 128), 1024
SAMPLES = 120 * BATCH
STEPS = 60
WARM = 10
# Whoever watches is in the learner's own process: a look takes 2 ms of it, and comes too late by half of this at most.
LOOK_EVERY_S = 0.1
SHOWN_MS = 1_790_000_000_000
CLOCK = SystemClock()
ABOUT = (
    f"{COLUMNS} ids of {KEYS} each x dim {DIM} + {NUMBERS} numbers, wdl {HIDDEN[0]}-{HIDDEN[1]}, Adagrad, "
    f"batch <= {BATCH}, one thread for rows and one for TensorFlow, {os.cpu_count()} cores"
)


def make_pipeline(name: str, bootstrap: str, staleness: int) -> spec.Pipeline:
    """The 39 fields of an advertiser's log."""
    ids, numbers = [f"c{place}" for place in range(COLUMNS)], [f"i{place}" for place in range(NUMBERS)]
    topic = {"key": "id", "time": "ts"}
    return spec.Pipeline.model_validate(
        {
            "name": name,
            "kafka": {"bootstrap": bootstrap},
            "events": {
                "impressions": topic
                | {
                    "topic": "shown",
                    "fields": [*({"name": each} for each in ids), *({"name": n, "type": "number"} for n in numbers)],
                },
                "feedback": [topic | {"name": "click", "topic": "clicks"}],
            },
            "features": [
                *({"name": each, "source": each, "table": each} for each in ids),
                *({"kind": "number", "name": n, "source": n, "scaling": "standard"} for n in numbers),
            ],
            "tables": [{"name": each, "dim": DIM} for each in ids],
            "model": {"name": "wdl", "hidden": HIDDEN},
            "learner": {"max_batch": BATCH, "port": 0, "staleness": staleness},
            "store": {"url": f"memory://{name}"},
        }
    )


def make_messages() -> list[bytes]:
    """Samples as they stand on the topic; ids are drawn by Zipf's law."""
    generator = np.random.default_rng(7)
    ids = generator.zipf(1.2, (SAMPLES, COLUMNS)) % KEYS
    numbers = generator.standard_normal((SAMPLES, NUMBERS)).round(4)
    clicks = generator.random(SAMPLES) < 0.25
    messages = []
    for row in range(SAMPLES):
        shown = SHOWN_MS + row
        fields = {f"c{place}": f"{key:08x}" for place, key in enumerate(ids[row].tolist())}
        messages.append(
            orjson.dumps(
                {
                    "sample_id": f"{row}#click.0",
                    "kind": "click" if clicks[row] else "timeout",
                    "label_click": int(clicks[row]),
                    "impression_ts": iso(shown),
                    "received_ts": iso(shown + 500),
                    "known_ts": iso(shown + 500),
                    "weight": 1,
                    "down_sampling_rate": 1,
                    **fields,
                    **{f"i{place}": value for place, value in enumerate(numbers[row].tolist())},
                }
            )
        )
    return messages


@dataclass(frozen=True)
class Loop:
    """What the running learner came to.

    Args:
        per_second: Samples a second, commits included.
        decode_share: Seconds of decoding and encoding over those of all parts of a step.
    """

    per_second: float
    decode_share: float


def run_loop(kafka: KafkaServer, messages: list[bytes], staleness: int) -> Loop:
    """Lets a whole learner work off a full topic, a version every second into memory."""
    pipeline = make_pipeline(f"learner-{staleness}", kafka.bootstrap, staleness)
    make_topic(pipeline)
    send(pipeline, [(0, message) for message in messages])
    with learner(pipeline, open_store(pipeline.store)) as running:

        def trained() -> int:
            return int(running.status()["samples_total"])

        until(lambda: trained() > WARM * BATCH, 300, LOOK_EVERY_S)
        first, began = trained(), CLOCK.monotonic()
        until(lambda: trained() >= SAMPLES, 300, LOOK_EVERY_S)
        seconds = CLOCK.monotonic() - began
        text = running.get("/metrics").text
    parts = {
        sample.labels["part"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "springtide_learner_step_seconds_sum"
    }
    return Loop((SAMPLES - first) / seconds, (parts["decode"] + parts["encode"]) / sum(parts.values()))


def full_batches(messages: list[bytes]) -> Iterator[Batch]:
    """The messages as the reader gives them when it is behind."""
    for begin in range(0, (STEPS + WARM) * BATCH, BATCH):
        values: list[bytes | None] = [*messages[begin : begin + BATCH]]
        offsets = np.arange(begin, begin + BATCH, dtype=np.int64)
        times = np.full(BATCH, SHOWN_MS + 10 * SAMPLES, np.int64)
        yield Batch("samples", np.zeros(BATCH, np.int32), offsets, times, [None] * BATCH, values)


def ready_steps(messages: list[bytes]) -> float:
    """Samples a second of the same trainer on batches that were decoded and encoded before."""
    trainer = make_trainer(make_pipeline("ready", "nowhere:9092", 0))
    ready = [trainer.ready(batch) for batch in full_batches(messages)]
    for batch in ready[:WARM]:
        trainer.learn(batch)
    began = CLOCK.monotonic()
    for batch in ready[WARM:]:
        trainer.learn(batch)
    return STEPS * BATCH / (CLOCK.monotonic() - began)


def sample_cpu_us(messages: list[bytes]) -> float:
    """Processor time of one sample, decoded, encoded and learned in full batches, the median over batches."""
    trainer = make_trainer(make_pipeline("cpu", "nowhere:9092", 0))
    spent = []
    for batch in full_batches(messages):
        began = time.process_time()
        trainer.learn(trainer.ready(batch))
        spent.append(time.process_time() - began)
    return float(np.median(spent[WARM:])) / BATCH * 1e6


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    console = Console(stderr=True)
    messages = make_messages()
    with tempfile.TemporaryDirectory(prefix="springtide-bench-") as folder:
        kafka = KafkaServer(Path(folder) / "kafka", Path(folder))
        kafka.start()
        try:
            before = ready_steps(messages)
            exact = run_loop(kafka, messages, staleness=0)
            late = run_loop(kafka, messages, staleness=1)
            after = ready_steps(messages)
            cpu = sample_cpu_us(messages)
        finally:
            kafka.stop()
    console.print(f"ready steps {before:.0f} and {after:.0f} samples/s, loop {exact.per_second:.0f}")
    step = (before + after) / 2
    return report(
        "learner",
        [
            Figure("learner_vs_step", exact.per_second / step, "x", 0.7, ">=", f"{step:.0f} samples/s; {ABOUT}"),
            Figure("samples_per_s", exact.per_second, "1/s", None, ">=", f"from Kafka, a version a second; {ABOUT}"),
            Figure("sample_cpu_us", cpu, "us", None, "<=", f"decoded, encoded and learned, without commits; {ABOUT}"),
            Figure("decode_share", exact.decode_share, "1", None, "<=", "decoding and encoding, of all parts' seconds"),
            Figure(
                "staleness_gain", late.per_second / exact.per_second, "x", None, ">=", f"staleness 1 over 0; {ABOUT}"
            ),
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
