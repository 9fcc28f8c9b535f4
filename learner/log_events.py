"""What each event in this room's log means; the operator's reference is made from it. Knows no code."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Final

EVENTS: Final[dict[str, str]] = {
    "commit_delayed": "The store does not answer; training goes on and the version is tried again. Once per outage.",
    "commit_resumed": "A version that was delayed is committed.",
    "decisions_unreadable": "What people decided cannot be read; what was read before holds. Once per change of cause.",
    "from_timestamp_passed_over": "`--from-timestamp` was not needed: the newest version says where to go on.",
    "gap_accepted": "Samples are gone that had not been learned, and `--accept-gap` said to go on behind them.",
    "gate_overridden": "Somebody promoted what the gate had refused: it is the new normal for the gate.",
    "gate_reference_given_up": "The gate's copy of the servable tables wants more memory than it may have.",
    "gate_reference_missing": "The gate's copy of the last servable version cannot be restored; it judges without.",
    "gradient_exploded": "A batch's gradient was no number or too large to be used: it taught nothing.",
    "learner_left": "The learner has ended, after its last commit.",
    "learner_started": "The learner's status server answers on this address.",
    "partitions_added": "The samples topic has more partitions; they are read from their beginning.",
    "pipeline_changed": "What a changed pipeline makes of the state, part by part: kept, begun anew or dropped.",
    "restored": "The learner goes on from this version.",
    "revert_failed": "Going back to a version failed; the learner stays with its own.",
    "reverted": "The learner went back to a version; samples that led away from it are quarantined.",
    "sample_rejected": "A sample cannot be learned; where it stands and why. Five of each batch.",
    "samples_rejected": "How many samples of a batch cannot be learned, where they are more than five.",
    "started_warm": "A new model began with the tables of another one.",
    "tensorflow_threads_kept": "TensorFlow had run before its threads were set, and keeps those that it has.",
    "version_refused": "The gate refuses this version for these reasons: replicas keep the last servable one.",
}
