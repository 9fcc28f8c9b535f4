"""Erases one id for good: a decision, the learner's deletion, a base without it, and the end of all before it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import orjson
import typer

from checkpointing.collect import Collector
from checkpointing.compact import compact
from checkpointing.control import ControlLog, RowKey
from checkpointing.history import newest_version, read_manifest
from checkpointing.holders import holders
from checkpointing.lease import held_chain
from checkpointing.manifest import Manifest
from checkpointing.retention import Retention
from checkpointing.servable import newest_servable
from infra.account import account
from infra.clock import Clock, SystemClock
from infra.errors import Invalid, Unavailable
from infra.kafka import KafkaAdmin, PartitionReader
from infra.object_store import ObjectStore, open_store
from infra.pipeline_file import load_pipeline
from infra.spec import Pipeline
from springtide.row_keys import row_keys
from streaming import topics

LOOK_EVERY_S: Final = 0.2
MOST_EMPTY_POLLS: Final = 15


@dataclass
class Erasure:
    """How far an id is forgotten.

    Args:
        table: Its table.
        key: Its key there.
        decision: The number of the decision.
        obeyed: The first version known whose learner has deleted it; None where none has yet.
        base: The base without it; None where there is none yet.
        left: Objects that hold it still.
        topics: What Springtide's own topics hold of it, one line each.
    """

    table: str
    key: int
    decision: int
    obeyed: int | None = None
    base: int | None = None
    left: list[str] = field(default_factory=list)
    topics: list[str] = field(default_factory=list)


def forget(
    path: Path,
    text: str,
    table: str,
    *,
    who: str,
    why: str,
    delete_records: bool,
    wait_s: float,
    as_json: bool,
    stop: threading.Event,
) -> None:
    """Takes every step that can be taken now and prints what is left; a later call goes on where this one ended.

    Args:
        path: The pipeline.yaml.
        text: The id, as the events have it.
        table: Whose row it is.
        who: Who decides; the user who is logged in if empty.
        why: The reason.
        delete_records: Whether records of the platform's own topics are deleted before their time.
        wait_s: How long to wait for the learner.
        as_json: Whether to print JSON.
        stop: Ends the waiting.
    """
    pipeline, clock = load_pipeline(path), SystemClock()
    store = open_store(pipeline.store)
    if table not in {each.name for each in pipeline.tables}:
        raise Invalid(f"no table `{table}`", wanted=", ".join(each.name for each in pipeline.tables), where="--table")
    if any(each.name == table and each.multi_hash is not None for each in pipeline.tables):
        raise Invalid(f"the rows of table `{table}` are shared by many ids: none is this one's alone", where="--table")
    key = row_keys(pipeline, text).get(table)
    if key is None:
        raise Invalid(f"`{text}` cannot be an id of table `{table}`", wanted="an id as the events have it")
    _refuse_pinned(store, pipeline.name)
    erasure = _decided(store, pipeline.name, RowKey(table=table, key=key), who, why, clock)
    follows = _await_learner(store, pipeline.name, erasure.decision, wait_s, clock, stop)
    if follows is not None:
        erasure.obeyed = follows.version
        _make_base(erasure, store, pipeline, clock, stop)
    erasure.left = [found.what for found in holders(store, pipeline.name, table, key)]
    samples = topics.samples(pipeline.name)
    learned = () if follows is None else follows.positions
    positions = {place.partition: place.next_offset for place in learned if place.topic == samples}
    try:
        if pipeline.samples.of is None:
            erasure.topics = _records(pipeline, text, positions, delete=delete_records, clock=clock)
        else:
            erasure.topics = [f"topics are those of `{pipeline.samples.of}`: let it forget the id, too"]
    except Unavailable as error:
        erasure.topics = [f"Kafka was not looked at: {error}"]
    typer.echo(orjson.dumps(asdict(erasure)).decode() if as_json else _told(erasure))


def _refuse_pinned(store: ObjectStore, model: str) -> None:
    control = ControlLog(store, model)
    control.poll()
    pin = control.decisions.pin
    if pin is not None:
        raise Invalid(
            f"version {pin.version} is pinned by {pin.who} and holds what was learned so far",
            cure="`springtide unpin` first",
            where=store.url,
        )


def _decided(store: ObjectStore, model: str, row: RowKey, who: str, why: str, clock: Clock) -> Erasure:
    control = ControlLog(store, model)
    control.poll()
    entry = next((entry for entry in control.decisions.forgotten if row in entry.keys), None)
    if entry is None:
        entry = control.append("forget", who=who or account(), why=why, clock=clock, keys=[row])
    return Erasure(row.table, row.key, entry.number)


def _await_learner(
    store: ObjectStore, model: str, decision: int, wait_s: float, clock: Clock, stop: threading.Event
) -> Manifest | None:
    """The newest version, once its learner follows ``decision``."""
    deadline = clock.monotonic() + wait_s
    while True:
        newest = newest_version(store)
        manifest = None if newest is None else read_manifest(store, model, newest)
        if manifest is not None and manifest.obeyed >= decision:
            return manifest
        if clock.monotonic() >= deadline or clock.wait(stop, LOOK_EVERY_S):
            return None


def _make_base(erasure: Erasure, store: ObjectStore, pipeline: Pipeline, clock: Clock, stop: threading.Event) -> None:
    """A base after the deletion, and the collection of all that is older, as soon as the grace time allows."""
    model = pipeline.name
    control = ControlLog(store, model)
    control.poll()
    newest = newest_version(store) or 0
    servable = newest_servable(store, model, newest, control.decisions.promoted)
    manifest = None if servable is None else read_manifest(store, model, servable)
    if manifest is None or manifest.obeyed < erasure.decision:
        return  # the gate lets no version pass yet
    with held_chain(store, model, manifest.version, "forget", clock) as (chain, _):
        base = chain.base
    # Another base may be without it, too, and yet the line go on from before: behind a revert.
    if base is None or base.manifest.obeyed < erasure.decision:
        made = compact(store, model, manifest.version, clock, window_ms=pipeline.learner.sample_id_window.ms, stop=stop)
        erasure.base = manifest.version if made is None else made.base.version
    else:
        erasure.base = base.version
    Collector(store, model, clock, Retention(versions=1, age_s=0.0), stop=stop).run()


def _records(pipeline: Pipeline, text: str, learned: dict[int, int], *, delete: bool, clock: Clock) -> list[str]:
    """What the platform's own topics hold; with ``delete`` they hold nothing of it afterwards, as far as that goes."""
    admin = KafkaAdmin(pipeline.kafka, clock=clock)
    name, keeps = pipeline.name, pipeline.samples.retention
    told = []
    for topic in (topics.late(name), topics.dead(name)):
        found = _mentions(pipeline, topic, text.encode(), clock)
        count, before = len(found), {partition: offset + 1 for partition, offset in found}
        if delete and count:
            admin.delete_records(topic, before)
            told.append(f"{topic}: {count} records named it; deleted, with all before them")
        else:
            told.append(f"{topic}: {count} records name it" + (f"; gone after {keeps} at the latest" if count else ""))
    samples = topics.samples(name)
    if delete and learned:
        admin.delete_records(samples, learned)
        told.append(f"{samples}: every learned sample was deleted; what waits is learned without it")
    else:
        told.append(f"{samples}: samples that name it are gone after {keeps} at the latest")
    told += [f"{topic}: yours; Springtide only reads it" for topic in topics.user_topics(pipeline)]
    return told


def _mentions(pipeline: Pipeline, topic: str, needle: bytes, clock: Clock) -> list[tuple[int, int]]:
    """Partition and offset of each record that names the id, in itself or in the event that it quotes."""
    found = []
    with PartitionReader(pipeline.kafka, topic, group=f"springtide.{pipeline.name}.forget", clock=clock) as reader:
        marks = reader.watermarks()
        ends = {partition: held.high for partition, held in marks.items() if held.high > held.low}
        reader.assign({partition: held.low for partition, held in marks.items()})
        silent = 0
        # A transaction's end has an offset of its own and is no record: silence ends the reading, too.
        while ends and silent < MOST_EMPTY_POLLS:
            batch = reader.poll_batch(4096, 0.2)
            silent = 0 if len(batch) else silent + 1
            for partition, offset, value in zip(
                batch.partitions.tolist(), batch.offsets.tolist(), batch.values, strict=True
            ):
                if value is not None and _names(value, needle):
                    found.append((partition, offset))
                if offset + 1 >= ends.get(partition, offset + 2):
                    del ends[partition]
    return found


def _names(value: bytes, needle: bytes) -> bool:
    if needle in value:
        return True
    try:
        body = orjson.loads(value).get("body")
        return isinstance(body, str) and needle in base64.b64decode(body, validate=True)
    except (ValueError, AttributeError):
        return False


def _told(erasure: Erasure) -> str:
    lines = [f"decision {erasure.decision}: key {erasure.key} of table {erasure.table} is to be forgotten"]
    if erasure.obeyed is None:
        lines.append("the learner has not deleted it yet: start one, and repeat this command")
    else:
        lines.append(f"version {erasure.obeyed}: the learner has deleted it, and keeps it from coming back")
    if erasure.base is not None:
        lines.append(f"base {erasure.base} is without it")
    elif erasure.obeyed is not None:
        lines.append("no version since then is servable: repeat this command once the gate lets one pass")
    if erasure.left:
        lines.append(
            f"{len(erasure.left)} objects hold it still, from {erasure.left[0]} on: readers may be at them for an"
            " hour; repeat this command then"
        )
    else:
        lines.append("no object of the store holds it")
    return "\n".join([*lines, *erasure.topics])
