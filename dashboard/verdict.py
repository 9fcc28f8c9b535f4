"""Puts the state of the whole loop into one word and its reason; must not know where the facts come from."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["ok", "warn", "bad", "idle", "starting", "unknown"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the word is made from.

    Args:
        versions: Whether there is any version.
        behind_ms: The headline; None where nothing is known.
        slo_ms: What it may be.
        idle: No feedback for a while and none pending.
        unreadable: Why Kafka or the store cannot be read; empty when both can.
        waiting: What the page waits for before the first version, as a sentence.
        down: Names of processes that do not answer.
        replicas: How many replicas are listed.
        replicas_up: How many of them answer.
        silent_ms: Time since the newest version.
        silence_ms: How long that may be, with heartbeats.
        refused: Why the newest version was refused by the gate; empty when it was not.
        decided: What people decided that holds: who, since when, why.
        held: Topics of the kinds of feedback whose negatives the join holds back.
        feedback_topic: Of the first kind.
        quiet_ms: Time since the newest feedback; None before the first.
        job_state: State of the join's job, empty where unknown.
    """

    versions: bool
    behind_ms: int | None
    slo_ms: int
    idle: bool
    unreadable: str = ""
    waiting: str = ""
    down: Sequence[str] = ()
    replicas: int = 0
    replicas_up: int = 0
    silent_ms: int = 0
    silence_ms: int = 30_000
    refused: str = ""
    decided: Sequence[str] = ()
    held: Sequence[str] = ()
    feedback_topic: str = ""
    quiet_ms: int | None = None
    job_state: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One word for everything, and why."""

    kind: Kind
    word: str
    why: str = ""


def judge(facts: Facts) -> Verdict:
    """The worst that is true, with the reason that a person can act on."""
    if not facts.versions:
        return Verdict("starting", "starting", facts.unreadable or facts.waiting)
    if facts.unreadable:
        return Verdict("unknown", "cannot tell", facts.unreadable)
    if facts.replicas and not facts.replicas_up:
        return Verdict("bad", "no replica answers", "The figures are those of the last version that each had applied.")
    trouble = _trouble(facts)
    if facts.behind_ms is not None and facts.behind_ms > facts.slo_ms and not facts.idle:
        return Verdict("bad", "behind SLO", trouble)
    if trouble:
        return Verdict("warn", "needs a look", trouble)
    quiet = Verdict("idle", "idle", "No feedback for a while, and none is pending.")
    return quiet if facts.idle else Verdict("ok", "within SLO")


def _trouble(facts: Facts) -> str:
    found = []
    if facts.down:
        found.append(f"{', '.join(facts.down)} {'does' if len(facts.down) == 1 else 'do'} not answer.")
    if facts.job_state and facts.job_state != "RUNNING":
        found.append(f"The join's job is {facts.job_state}.")
    if facts.silent_ms > facts.silence_ms:
        found.append(f"No version for {facts.silent_ms // 1000} s: the learner does not commit.")
    if facts.refused:
        found.append(f"The newest version is refused: {facts.refused}.")
    if facts.held:
        known = facts.quiet_ms is not None and list(facts.held) == [facts.feedback_topic]
        since = f" for {_length(facts.quiet_ms)}" if known and facts.quiet_ms is not None else ""
        silent = " and ".join(f"`{topic}`" for topic in facts.held)
        found.append(f"No feedback on {silent}{since}: negatives are held; see docs/runbooks/feedback-held.md.")
    found += [f"{decision}." for decision in facts.decided]
    return " ".join(found)


def _length(ms: int) -> str:
    return f"{ms // 60_000} min" if ms >= 120_000 else f"{ms // 1000} s"
