"""Which commands of the documents run here as they stand, on a store on disk and without any server."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from typing import Final

# They ask no server, whatever their options are.
ALWAYS: Final = {
    *("check", "plan", "size", "alerts", "versions", "inspect", "diff", "verify", "decisions"),
    *("rollback", "unpin", "promote", "pause", "resume", "revert-learner", "gc", "export", "copy"),
}
# They ask none with this option.
WITH: Final = {"doctor": "--acls", "join": "--print-topics", "compact": "--once"}
# Of the store of the tests: six versions, of which the fifth was refused.
VERSIONS: Final = {"4200": "3", "4217": "6"}
REFUSED: Final = "5"
# 1 says that something does not hold or begins anew, which is an answer, too.
ANSWERS: Final = {0, 1}


def runs_here(words: Sequence[str]) -> bool:
    """Whether test_commands_run.py runs the command."""
    if len(words) < 2 or words[0] != "springtide":
        return False
    if words[1] in ALWAYS:
        return True
    return words[1] in WITH and WITH[words[1]] in words


def arguments(words: Sequence[str]) -> list[str]:
    """The command's words for the store of the tests."""
    numbers = {**VERSIONS, "4217": REFUSED} if words[1] == "promote" else VERSIONS
    return [numbers.get(word, word) for word in words[1:]]
