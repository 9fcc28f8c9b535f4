"""The program of a Flink cluster that runs one join and nothing else; must not know heartbeats or status pages.

The cluster's JVM runs it at its start by way of ``org.apache.flink.client.python.PythonDriver``, with the pipeline's
file as its argument; docs/flink.md has the whole command. It submits the join to the JVM that it stands in and ends.
``springtide join`` with ``flink.mode: application`` sends the heartbeats and watches.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from infra.backoff import retry
from infra.clock import SystemClock
from infra.errors import Bug, SpringtideError
from infra.kafka import KafkaAdmin
from infra.local.jars import event_decoder
from infra.logs import configure, logger
from infra.pipeline_file import load_pipeline
from infra.spec import Pipeline
from streaming import beginning, sql
from streaming.checkpoint_folder import CheckpointFolder, Kept, cutover_of
from streaming.schema_check import check_schemas
from streaming.sql_text import literal
from streaming.submit import defined, refusal

_log = logger()

_ROOT = "execution.checkpointing.dir"


def main(arguments: Sequence[str] | None = None) -> int:
    """Submits the join; returns the exit code."""
    parser = argparse.ArgumentParser("streaming.application")
    parser.add_argument("pipeline", type=Path, help="the pipeline's file")
    parser.add_argument(
        "--replay", action="store_true", help="join all that the topics hold, if there is no checkpoint"
    )
    parser.add_argument("--since", type=int, metavar="MS", help="emit what could be known from then on, ms since 1970")
    chosen = parser.parse_args(arguments)
    try:
        pipeline = load_pipeline(chosen.pipeline)
        configure("join", pipeline.name)
        run(pipeline, replay=chosen.replay, since_ms=chosen.since)
    except SpringtideError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def run(pipeline: Pipeline, *, replay: bool = False, since_ms: int | None = None) -> None:
    """Submits the join to the cluster that this process belongs to.

    It goes on from the newest checkpoint of its plan, which the store tells: a cluster of this kind forgets everything
    with its JobManager, and begins again with the arguments that it was first started with.

    Args:
        pipeline: What to join.
        replay: Whether a plan without checkpoints begins with the oldest events that the topics still hold, whatever
            was joined before.
        since_ms: With what could be known from this moment on, instead: after a join of another plan has ended there.

    Raises:
        Invalid: A schema lacks what is read, samples were written and no checkpoint is known, or they are made by
            another model's join.
        Unavailable: The store does not answer.
        Bug: Flink refuses the generated SQL.
    """
    from py4j.protocol import Py4JError
    from pyflink.util.exceptions import JavaException

    beginning.require_own_join(pipeline)
    clock = SystemClock()
    prepare = partial(beginning.prepare_topics, pipeline, KafkaAdmin(pipeline.kafka, clock=clock))
    retry(prepare, "find and create topics", clock=clock, stop=threading.Event())
    retry(partial(check_schemas, pipeline), "check the schemas", clock=clock, stop=threading.Event())
    root = pipeline.flink.checkpoints or defined((), {}).get_config().get(_ROOT, "") or None
    folder = CheckpointFolder(lambda: root, sql.plan(pipeline).folder, pipeline.store)
    path = recovered(folder.kept() or [], since_ms)
    if path is None and not replay and since_ms is None:
        beginning.require_no_samples(pipeline, clock)
    if path is not None and replay:
        _log.warning("replay_not_begun", checkpoint=path, reason="the plan has checkpoints already")
    if path is not None:
        cutover = cutover_of(path)
    elif since_ms is not None:
        cutover = since_ms
    else:
        cutover = beginning.first_cutover_ms(pipeline, clock, replay=replay)
    plan = sql.plan(pipeline, cutover_ms=cutover, checkpoints=folder.of_job(clock.now_ms(), cutover))
    decoder = [f"ADD JAR {literal(str(jar))}" for jar in event_decoder(plan.encodings)]
    settings = {**plan.settings, "pipeline.name": plan.job_name}
    if path is not None:
        settings["execution.state-recovery.path"] = path
    try:
        defined((*decoder, *plan.definitions), settings).execute_sql(plan.insert)
    except (JavaException, Py4JError) as error:
        raise Bug(refusal(str(error))["what"]) from None
    _log.info("join_submitted", plan=plan.plan_hash, checkpoint=path)


def recovered(kept: Sequence[Kept], since_ms: int | None) -> str | None:
    """The checkpoint to go on from; None to begin anew.

    Args:
        kept: The plan's, newest first.
        since_ms: Only a job that emits from this moment on is gone on with; None goes on with any.
    """
    return next((each.path for each in kept if since_ms in {None, each.cutover_ms}), None)


if __name__ == "__main__":
    sys.exit(main())
