"""What each event in this room's log means; the operator's reference is made from it. Knows no code."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Final

EVENTS: Final[dict[str, str]] = {
    "page_listening": "The page's server answers.",
    "page_source_lost": "Kafka, the store or a topic cannot be read by the page; once per change.",
    "page_tick_late": "A tick took longer than its period; the page shows fewer.",
}
