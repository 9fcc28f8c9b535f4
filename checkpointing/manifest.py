"""What a version consists of, as one frozen value, and its JSON; must not know stores, and opens no pack."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import Field, JsonValue, model_validator

from checkpointing import paths
from checkpointing.packfile import (
    ArrayName,
    Count,
    File,
    Hex32,
    Int64,
    Number,
    Part,
    Range,
    Sha256,
    check_files,
    sections_of,
)
from checkpointing.signed import from_signed_json, to_signed_json
from infra.errors import Invalid

JsonObject = dict[str, JsonValue]
Kind = Literal["delta", "claim", "revert", "heartbeat"]


class Position(Part):
    """Where a learner of this version resumes one partition."""

    topic: str
    topic_id: str | None = None
    cluster_id: str | None = None
    partition: Count
    next_offset: Count


class Probe(Part):
    """A synthetic impression that this version has learned; times in milliseconds."""

    id: str
    received_ts: Int64
    sampled_ts: Int64
    trained_ts: Int64


class Timeline(Part):
    """The way of the oldest feedback in the version, milliseconds; all None where it holds none."""

    received_ts: Int64 | None = None
    sampled_ts: Int64 | None = None
    trained_ts: Int64 | None = None
    captured_ts: Int64 | None = None
    committed_ts: Int64 | None = None


class Gate(Part):
    """Whether replicas may switch to the version; the learner decides before the manifest exists."""

    servable: bool
    reasons: tuple[str, ...] = ()


class Graph(Part):
    """A dense program in the store: its inputs ``weights`` in order, its outputs ``labels``."""

    key: str
    bytes: Count
    sha256: Sha256
    weights: tuple[ArrayName, ...]
    labels: tuple[str, ...]

    @model_validator(mode="after")
    def _key_is_the_hash(self) -> Self:
        if not paths.is_graph(self.key, self.sha256):
            raise ValueError(f"graph key {self.key!r} is not where the graph {self.sha256} lies")
        return self


class Manifest(Part):
    """One version. FORMAT.md 2 says what each field means."""

    format: Literal[1, 2] = 2
    model: Annotated[str, Field(min_length=1)]
    version: Number
    parent: Number | None
    base_ref: Count | None
    kind: Kind
    epoch: Number
    commit_uuid: Hex32
    attempt: Hex32
    learner: str
    positions: tuple[Position, ...]
    batches: tuple[tuple[tuple[Count, Count, Count], ...], ...]
    learned_through: Int64 | None
    newest_known_ts: Int64 | None
    label_histogram: JsonObject
    probes: tuple[Probe, ...]
    timeline: Timeline
    metrics: JsonObject
    files: tuple[File, ...]
    graph: Graph | None
    feature_spec_hash: str
    gate: Gate
    environment: JsonObject
    created_ts: Int64
    obeyed: Count = 0
    quarantined: tuple[tuple[Count, Count, Count], ...] = ()

    @model_validator(mode="after")
    def _place_in_the_line(self) -> Self:
        if self.parent != (self.version - 1 or None):
            raise ValueError(f"parent is {self.parent}, wanted the number before {self.version}")
        if (self.base_ref is not None) != (self.kind == "revert"):
            raise ValueError(f"base_ref is {self.base_ref} in a {self.kind}; it belongs into a revert, always")
        if self.base_ref is not None and self.base_ref >= self.version:
            raise ValueError(f"base_ref {self.base_ref} is not before version {self.version}")
        if self.kind in ("claim", "heartbeat") and (self.files or self.graph or self.gate.servable):
            raise ValueError(f"a {self.kind} has no files and no graph, and is not servable")
        places = [(p.topic, p.partition) for p in self.positions]
        if len(set(places)) != len(places):
            raise ValueError("a partition occurs twice in positions")
        if any(begin > end for batch in (*self.batches, self.quarantined) for _, begin, end in batch):
            raise ValueError("a run in batches or quarantined ends before it begins")
        if self.quarantined and self.kind != "revert":
            raise ValueError(f"a {self.kind} puts samples into quarantine; only a revert does")
        return self

    @model_validator(mode="after")
    def _files_belong(self) -> Self:
        check_files(
            self.files,
            lambda key: paths.is_pack_of(key, self.version, self.epoch, self.attempt),
            f"version {self.version}, epoch {self.epoch}",
        )
        return self

    def ranges(self) -> dict[tuple[str, str], Range]:
        """All sections of the version by role and name."""
        return sections_of(self.files)

    @property
    def predecessor(self) -> int | None:
        """The version whose fold this one starts from, FORMAT.md 4; None where that is nothing."""
        return (self.base_ref or None) if self.kind == "revert" else self.parent

    @property
    def changes(self) -> bool:
        """Whether this version can change what a replica answers, once it is servable."""
        return self.kind in ("delta", "revert")

    def for_folding(self) -> Manifest:
        """Itself without the facts that no fold needs, which are most of its size."""
        return self.model_copy(
            update={"batches": (), "label_histogram": {}, "probes": (), "metrics": {}, "environment": {}}
        )

    def to_json(self) -> bytes:
        """The bytes of the object, checksum included."""
        return to_signed_json(self)

    @classmethod
    def from_json(cls, data: bytes, *, where: str = "manifest") -> Manifest:
        """Reads what :meth:`to_json`, or another writer of the format, wrote.

        Raises:
            Corrupt: The bytes are not a manifest, or not the one that was written.
            Invalid: The manifest has a newer format.
        """
        return from_signed_json(cls, data, what="manifest", where=where)


def plain_json(value: Any, *, what: str) -> JsonObject:
    """``value`` as JSON would return it: NumPy numbers become numbers, NaN null, number keys strings.

    Raises:
        Invalid: It is not a mapping of things that JSON can write.
    """
    try:
        document = orjson.loads(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS))
    except (TypeError, orjson.JSONDecodeError) as error:
        raise Invalid(f"{what} cannot be written as JSON: {error}", where="content") from error
    if not isinstance(document, dict):
        raise Invalid(f"{what} is a {type(value).__name__}", wanted="a mapping", where="content")
    return document
