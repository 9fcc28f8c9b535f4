"""What each event in this room's log means; the operator's reference is made from it. Knows no code."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Final

EVENTS: Final[dict[str, str]] = {
    "base_made": "The compactor has made a base of the versions so far.",
    "collected": "What no reader can need any more was removed from the store.",
    "compaction_failed": "A base could not be made; the line goes on without one. Look at the named file.",
    "events_begin": "The chart's made-up traffic begins.",
    "events_end": "The chart's made-up traffic has ended.",
}
