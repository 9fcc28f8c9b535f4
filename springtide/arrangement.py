"""In which panel of the help each command stands, and what their exit codes mean; knows names, no command's inside."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any, Final

import typer
from typer.core import TyperGroup

from infra.errors import Bug, Corrupt, Fenced, Invalid, Unavailable

PANELS: Final[dict[str, tuple[str, ...]]] = {
    "Start": ("init", "check", "doctor", "plan", "size", "suggest"),
    "Run": ("join", "learn", "serve", "dashboard", "demo"),
    "Watch": ("probe", "versions", "inspect", "diff", "verify", "decisions", "alerts", "late"),
    "Act": (
        *("rollback", "unpin", "promote", "pause", "resume", "revert-learner", "replay"),
        *("compact", "gc", "export", "copy", "forget"),
    ),
}
WIDEST: Final = 400
# The only ones that any command ends with, but for signals that a shell adds 128 to.
EXIT_CODES: Final[dict[int, str]] = {
    0: "done",
    1: "done, and the answer is no: a difference, a loss, something that begins anew",
    Invalid.exit_code: "the call, the file or a right is wrong",
    Corrupt.exit_code: "stored bytes are wrong",
    Unavailable.exit_code: "a server does not answer (try again)",
    Bug.exit_code: "a defect of Springtide",
    Fenced.exit_code: "another writer is alive",
}


class PanelledHelp(TyperGroup):
    """The program's help in panels of plain text: importing what draws frames takes longer than all the rest."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Every command with the whole of its first sentence."""
        for panel, names in PANELS.items():
            commands = {name: self.commands[name] for name in names}
            with formatter.section(panel):
                formatter.write_dl([(name, each.get_short_help_str(WIDEST)) for name, each in commands.items()])


def arrange(app: typer.Typer) -> None:
    """Puts the commands into the order of the panels, with the exit codes below the help of each."""
    places = {name: number for number, name in enumerate(name for names in PANELS.values() for name in names)}
    registered = [*map(name_of, app.registered_commands), *map(name_of, app.registered_groups)]
    for name in registered:
        if name not in places:
            raise Bug(f"command `{name}` stands in no panel")
    app.registered_commands.sort(key=lambda entry: places[name_of(entry)])
    below = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + "."
    inner = [group.typer_instance for group in app.registered_groups if group.typer_instance is not None]
    for each in (app, *inner):
        for command in each.registered_commands:
            command.epilog = below


def name_of(entry: typer.models.CommandInfo | typer.models.TyperInfo) -> str:
    """What a person types."""
    return entry.name or (entry.callback.__name__.replace("_", "-") if entry.callback else "")
