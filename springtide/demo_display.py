"""What a person sees of the demo: steps, one moving line, the summary; knows figures, not where they come from."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from infra.clock import Clock

# Without a terminal a line every so often: a log that grows by the second helps nobody.
LINE_SECONDS = 10.0
BAR_WIDTH = 18


@dataclass(frozen=True, slots=True)
class Moment:
    """The figures of one moment.

    Attributes:
        done: Share of the log that has been sent, 0 to 1.
        per_second: Events sent a second.
        behind: Seconds behind the stream of the slowest replica; None while nobody knows.
        auc: Progressive AUC so far; None before both labels were seen.
    """

    done: float
    per_second: float
    behind: float | None
    auc: float | None

    def words(self) -> str:
        behind = "-" if self.behind is None else f"{self.behind:.1f} s"
        auc = "-" if self.auc is None else f"{self.auc:.3f}"
        return f"{self.done:4.0%}   {self.per_second:,.0f}/s   behind {behind}   AUC {auc}"


class Display:
    """Prints steps as they end and, between them, the line that moves.

    Args:
        console: Where to print; on a terminal the progress line is redrawn in place.
        clock: Spaces the lines where there is no terminal.
    """

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._live: Live | None = None
        self._last_line = float("-inf")

    def say(self, text: str = "") -> None:
        """Prints one line."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def step(self, what: str, state: str, seconds: float, *, note: str = "") -> None:
        """One finished step with the time that it took."""
        self.say(f"  {what:<48} {state:<8} {seconds:4.0f} s{'   ' + note if note else ''}")

    def replaying(self, name: str, moment: Moment) -> None:
        """Redraws the progress line, or prints one if it is time."""
        if self._console.is_terminal:
            if self._live is None:
                self._live = Live(console=self._console, refresh_per_second=4, transient=True)
                self._live.start()
            line = Table.grid(padding=(0, 2))
            line.add_row(f"Replay {name}", ProgressBar(1.0, moment.done, width=BAR_WIDTH), moment.words())
            self._live.update(line)
        elif self._clock.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = self._clock.monotonic()
            self.say(f"Replay {name}  {moment.words()}")

    def settle(self) -> None:
        """Ends the moving line."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.settle()
