"""Everything that a replica's processes import, once for all of them; knows nothing of what they do.

The server that they are forked from imports this and runs nothing: memory that is there now is theirs in common, and a
collection of garbage that walked it would make copies of it.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gc

from serving import follower_process, predictor_process

__all__ = ["follower_process", "predictor_process"]

gc.collect()
gc.freeze()
