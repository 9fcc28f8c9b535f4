"""What a follower hands out after one look at the line; knows no store and no replica."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass

from checkpointing.content import ServingContent
from checkpointing.manifest import Manifest
from infra.errors import Corrupt, Invalid


@dataclass(frozen=True)
class Update:
    """What one poll found.

    Attributes:
        manifests: Every manifest read since the last update, in order, claims and heartbeats too: they carry freshness.
            After a start, those from the first switch's on, the newest 256 of them.
        switch: Apply this and publish it; None where no newer servable version can be had.
        kept: Switch back to this version, which the replica said that it keeps; never beside ``switch``.
        problem: What keeps the follower on its version, once per change; None where there is no news of that kind.
    """

    manifests: tuple[Manifest, ...] = ()
    switch: ServingContent | None = None
    problem: Corrupt | Invalid | None = None
    kept: int | None = None
