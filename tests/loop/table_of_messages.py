"""The messages that docs/security.md promises, by the trouble that each tells; knows no server."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "security.md"
# `...` stands for what differs from case to case.
ROW = re.compile(r"^\| (?P<trouble>[^|]+?) \| (?P<what>[^|]+?) \| (?P<cure>[^|]+?) \|$", re.MULTILINE)


def documented(trouble: str, message: str) -> bool:
    """Whether ``message`` is what the document says of ``trouble``; raises where it is not, with both."""
    text = DOCUMENT.read_text("utf-8").partition("## What is said when access is refused")[2]
    rows = {row["trouble"]: (row["what"], row["cure"]) for row in ROW.finditer(text)}
    for part in rows[trouble]:
        wanted = ".*".join(re.escape(piece) for piece in part.replace("`", "").split("..."))
        found = message.replace("`", "")
        assert re.search(wanted, found, re.DOTALL), f"{trouble}: wanted {part}\ngot {message}"
    return True
