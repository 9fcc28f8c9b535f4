"""Starts a learner: claim, restore, read, loop, leave; must not know how any of them is done."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from checkpointing.alive import KeptAlive
from checkpointing.writer import QUIET_S, Writer
from infra import spec
from infra.backoff import Backoff, Stopped, retry
from infra.clock import Clock
from infra.errors import Unavailable
from infra.feature_spec import feature_spec_hash, state_outline
from infra.kafka import KafkaAdmin, PartitionReader
from infra.logs import logger
from infra.metrics import Metrics
from infra.object_store import ObjectStore
from infra.status_server import StatusServer
from kernels.features import FeatureEncoder
from kernels.tables import EmbeddingTables
from learner.assembly import build_gate, build_trainer, label_columns, training_environment
from learner.commit import Committer, Constants
from learner.decisions import DecisionWatch, Orders
from learner.facts import FactsRecorder
from learner.loop import Learner
from learner.migration import migrations
from learner.outline import outline_to_arrays
from learner.positions import Positions
from learner.reporting import Report
from learner.restore import migrated, restore_trainer
from learner.revert import Reversion, dense_graph
from learner.warm_start import WarmStart, warm_start
from streaming import topics

_log = logger()


@dataclass(frozen=True)
class Beginning:
    """How a model begins that has no version yet, and one whose samples were lost.

    Args:
        from_ms: With the first sample that Kafka took in at or after this moment; None: with the oldest.
        warm: With what another model has learned; None: with nothing.
        accept_gap: With the oldest sample that there is, where the topic lacks those after the newest version.
    """

    from_ms: int | None = None
    warm: WarmStart | None = None
    accept_gap: bool = False


_BEGINNING: Final = Beginning()


def run_learner(
    pipeline: spec.Pipeline,
    *,
    encoder: FeatureEncoder,
    tables: EmbeddingTables,
    store: ObjectStore,
    clock: Clock,
    stop: threading.Event,
    identity: str = "",
    takeover: bool = False,
    beginning: Beginning = _BEGINNING,
    quiet_s: float = QUIET_S,
    on_listening: Callable[[str], None] | None = None,
) -> None:
    """Runs one learner until ``stop`` is set; then commits what it learned and leaves.

    Args:
        pipeline: The spec.
        encoder: Columns to ids and numbers (``springtide.wiring``).
        tables: Empty, trainable tables with the encoder's layout.
        store: The model's store.
        clock: Time.
        stop: Set to end it.
        identity: Who this learner is across restarts; the host's name if empty.
        takeover: Whether to claim at once even from another identity that may be alive.
        beginning: How a model begins that has no version yet; passed over where there is one.
        quiet_s: How long another identity must have been silent.
        on_listening: Told the address of the status server.

    Raises:
        Fenced: Another learner of this model is alive; this one writes nothing more.
        Invalid: The pipeline does not fit the stored state, the topic or the machine.
        Corrupt: A stored version is wrong.
        Unavailable: The last commit did not get through before the grace time ended.
    """
    metrics = Metrics("learner", clock=clock)
    bucket, window = pipeline.learner.quality_bucket, pipeline.join.window
    report = Report(pipeline.name, metrics, clock, bucket.ms, window.ms, label_columns(pipeline))
    with ExitStack() as cleanup:
        server = StatusServer(
            pipeline.learner.host,
            pipeline.learner.port,
            metrics=metrics,
            status=report.status,
            ready=lambda: report.reason,
        )
        cleanup.callback(server.close)
        if on_listening is not None:
            on_listening(server.url)
        _log.info("learner_started", address=server.url)
        try:
            learner = _start(
                pipeline, encoder, tables, store, clock, stop, identity, takeover, beginning, quiet_s, report, cleanup
            )
        except Stopped:
            return
        learner.run()
    _log.info("learner_left", version=report.version)


def _start(
    pipeline: spec.Pipeline,
    encoder: FeatureEncoder,
    tables: EmbeddingTables,
    store: ObjectStore,
    clock: Clock,
    stop: threading.Event,
    identity: str,
    takeover: bool,
    beginning: Beginning,
    quiet_s: float,
    report: Report,
    cleanup: ExitStack,
) -> Learner:
    trainer = build_trainer(pipeline, encoder, tables, timer=report.timed)
    report.enter("claiming", "waiting for the claim")
    writer = _claim(pipeline.name, identity or socket.gethostname(), store, clock, stop, takeover, quiet_s, report)
    report.epoch, report.version = writer.epoch, writer.version
    gate = build_gate(pipeline, trainer)
    spec_hash = feature_spec_hash(pipeline)
    migrate = migrations(pipeline, trainer, store.url)

    claimed = writer.version
    with KeptAlive(writer, clock) as alive:

        def progress(done: int, total: int) -> None:
            alive.check()
            report.enter("restoring", f"restoring: {done} of {total} parts")

        progress(0, claimed)
        state = retry(
            lambda: restore_trainer(trainer, gate, store, pipeline.name, claimed, spec_hash, progress, migrate),
            "restore",
            clock=clock,
            stop=stop,
        )
        _log.info("restored", version=state.version, epoch=state.epoch)
        warm = beginning.warm
        if warm is not None and not state.dense:
            report.enter("restoring", f"starting warm from model {warm.model}")
            retry(lambda: warm_start(pipeline, trainer, warm), "start warm", clock=clock, stop=stop)

        report.enter("connecting", "waiting for Kafka")
        topic = topics.samples_of(pipeline)
        reader = PartitionReader(pipeline.kafka, topic, group=f"springtide.{pipeline.name}.learner", clock=clock)
        cleanup.callback(reader.close)
        admin = KafkaAdmin(pipeline.kafka, clock=clock)
        positions = Positions(reader, admin, clock, accept_gap=beginning.accept_gap)

        def connect() -> None:
            alive.check()
            positions.start(state.positions, beginning.from_ms)

        retry(connect, f"find topic {topic}", clock=clock, stop=stop)
    report.version = writer.version

    labels = label_columns(pipeline)
    anew = migrated(state, spec_hash)
    graph = dense_graph(trainer, writer, state, labels, always=anew)
    asked = {table.name: table.serving_precision for table in pipeline.tables}
    precision = {stored: asked[space] for stored, space in trainer.tables.spaces.items()}
    outline = outline_to_arrays(state_outline(pipeline))
    constants = Constants(spec_hash, training_environment(pipeline), graph, precision, outline)
    committer = Committer(writer, gate, constants, clock)
    cleanup.callback(committer.close)
    manifest = state.manifest
    facts = FactsRecorder(clock, manifest.learned_through, manifest.newest_known_ts)
    watch = DecisionWatch(store, pipeline.name, clock)
    cleanup.callback(watch.close)
    reversion = Reversion(trainer, gate, writer, store, pipeline.name, spec_hash, migrate, labels, clock, stop)
    orders = Orders(watch, manifest.obeyed)
    learner = Learner(
        pipeline.learner, reader, positions, trainer, facts, committer, gate, reversion, orders, report, clock, stop
    )
    if anew:
        learner.begin_anew()
    elif not state.dense:
        learner.commit_first_state()
    return learner


def _claim(
    model: str,
    identity: str,
    store: ObjectStore,
    clock: Clock,
    stop: threading.Event,
    takeover: bool,
    quiet_s: float,
    report: Report,
) -> Writer:
    backoff = Backoff("claim", clock=clock, stop=stop)
    while True:
        try:
            return Writer.take_over(
                store,
                model,
                identity,
                clock,
                takeover,
                quiet_s=quiet_s,
                stop=stop,
                on_wait=lambda reason: report.enter("claiming", reason),
            )
        except Unavailable as error:
            if stop.is_set():
                raise Stopped("claim") from None
            backoff.failed(error)
