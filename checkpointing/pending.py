"""A commit under way: content frozen into bytes that every retry repeats; must not talk to a store."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pydantic import ValidationError

from checkpointing import paths
from checkpointing.content import Content
from checkpointing.manifest import Gate, Manifest, plain_json
from checkpointing.pack import Packed, pack
from checkpointing.signed import MAX_BYTES
from infra.clock import new_uuid
from infra.errors import Invalid
from infra.object_store.contract import Data

# A draft grows by the digits of its times when it is sealed.
_SLACK = 1024


class Pending:
    """One commit: what is still to upload, and the manifest once it is sealed.

    Attributes:
        content: What it was made of, to recognise a repeated call; its arrays are not read again.
        to_upload: Objects that the store has not acknowledged yet, by key.
        base_ref: What it starts from, if it is a revert.
        manifest: Sealed, or None before the objects are up.
        data: The manifest's bytes.
    """

    def __init__(self, content: Content, last: Manifest, graph_data: bytes | None = None) -> None:
        """Freezes ``content`` as the version after ``last``.

        Args:
            content: The version's content.
            last: Its parent.
            graph_data: The bytes of ``content.graph``, where they are still to be uploaded.

        Raises:
            Invalid: The content cannot be a version.
        """
        self.content = content
        attempt = new_uuid()
        packs = pack(
            content,
            attempt=attempt,
            key=lambda name: paths.pack_key(last.version + 1, last.epoch, attempt, name),
        )
        self._draft = _draft(content, last, attempt, packs)
        self.to_upload: dict[str, Data] = {packed.file.key: packed.data for packed in packs}
        if graph_data is not None and content.graph is not None:
            self.to_upload[content.graph.key] = graph_data
        self.base_ref = content.base_ref
        if self.base_ref:  # before it is committed, and before anybody can know that it will be
            self.to_upload[paths.revert_key(last.version + 1, last.epoch, attempt, self.base_ref)] = b""
        self.manifest: Manifest | None = None
        self.data = b""

    def seal(self, now_ms: int) -> Manifest:
        """The manifest, with its times as of the first call; later calls return the same."""
        if self.manifest is None:
            timeline = self._draft.timeline
            if timeline.received_ts is not None:
                timeline = timeline.model_copy(update={"committed_ts": now_ms})
            self.manifest = self._draft.model_copy(update={"created_ts": now_ms, "timeline": timeline})
            self.data = self.manifest.to_json()
        return self.manifest


def _draft(content: Content, last: Manifest, attempt: str, packs: list[Packed]) -> Manifest:
    _refuse_lost_positions(content, last)
    heartbeat = content.kind == "heartbeat"
    if heartbeat and (packs or content.graph):
        raise Invalid("a heartbeat has rows, arrays or a graph", wanted="kind `delta`", where="content")
    if content.graph and content.dense and content.graph.weights != tuple(content.dense):
        raise Invalid(
            f"the graph's weights are {list(content.graph.weights)}",
            wanted=f"the names of the dense arrays, {list(content.dense)}",
            where="content",
        )
    try:
        draft = Manifest(
            model=last.model,
            version=last.version + 1,
            parent=last.version,
            base_ref=content.base_ref,
            kind=content.kind,
            epoch=last.epoch,
            commit_uuid=new_uuid(),
            attempt=attempt,
            learner=last.learner,
            positions=tuple(content.positions),
            batches=tuple(tuple((int(p), int(a), int(b)) for p, a, b in batch) for batch in content.batches),
            learned_through=content.learned_through,
            newest_known_ts=content.newest_known_ts,
            label_histogram=plain_json(content.label_histogram, what="label_histogram"),
            probes=tuple(content.probes),
            timeline=content.timeline,
            metrics=plain_json(content.metrics, what="metrics"),
            files=tuple(packed.file for packed in packs),
            graph=content.graph,
            feature_spec_hash=content.feature_spec_hash,
            gate=Gate(servable=False, reasons=("heartbeat",)) if heartbeat else content.gate,
            environment=plain_json(content.environment, what="environment"),
            created_ts=0,
            obeyed=content.obeyed,
            quarantined=tuple((int(p), int(a), int(b)) for p, a, b in content.quarantined),
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "content"
        raise Invalid(f"{field}: {first['msg']}", wanted="a manifest as in FORMAT.md", where="content") from error
    if (size := len(draft.to_json())) > MAX_BYTES - _SLACK:
        raise Invalid(
            f"the manifest would have {size} bytes",
            wanted=f"at most {MAX_BYTES}",
            cure="commit more often, or after fewer batches",
            where="content",
        )
    return draft


def _refuse_lost_positions(content: Content, last: Manifest) -> None:
    """A partition that a version forgets would be read from its start again."""
    kept = {(position.topic, position.partition) for position in content.positions}
    lost = [f"{p.topic}[{p.partition}]" for p in last.positions if (p.topic, p.partition) not in kept]
    if lost:
        raise Invalid(
            f"positions lack {', '.join(lost)}",
            wanted="the positions of all partitions in every version",
            where="content",
        )
