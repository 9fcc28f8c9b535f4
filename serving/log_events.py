"""What each event in this room's log means; the operator's reference is made from it. Knows no code."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Final

EVENTS: Final[dict[str, str]] = {
    "replica_listening": "A replica answers requests on this address; it is ready once it has applied a version.",
    "replica_listening_grpc": "A replica answers gRPC on this address.",
    "dense_program_not_converted": "TensorFlow runs the dense program, since LiteRT cannot take it: slower.",
    "dense_chain_not_cut": "A chain of layers stays with LiteRT, which cannot take what is beside it alone.",
    "dense_chain_differs": "LiteRT runs a version's dense program, since the matrix unit answered otherwise.",
    "dense_program_differs": "TensorFlow runs a version's dense program, since LiteRT answered otherwise than it.",
    "figures_not_readable": "What a process of a replica let know is no JSON of ours; its figures are left out.",
    "replica_process_ended": "A process of a replica ended by itself; the others go on, and it is started again.",
    "predictor_left_behind": "A predictor did not take a version; it answers from the one before until it does.",
    "handover_not_understood": "A predictor cannot read what the follower told; it answers on and asks anew.",
    "replica_ready": "A replica has applied its first version.",
    "replica_draining": "A replica was asked to stop: it is not ready any more and answers what it has begun.",
    "version_refused": "A version cannot be applied; the one before it goes on answering. Once per change of cause.",
    "versions_accepted_again": "Versions can be applied again.",
    "shadow_failed": "A request could not be scored by the version it was to be compared with; its answer was given.",
    "request_failed": "A request failed by a defect of ours; it was answered with 500.",
}
