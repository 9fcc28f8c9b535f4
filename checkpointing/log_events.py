"""What each event in this room's log means; the operator's reference is made from it. Knows no code."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Final

EVENTS: Final[dict[str, str]] = {
    "base_passed_over": "A base cannot be read and is passed over: what is before it serves. Look at the named file.",
}
