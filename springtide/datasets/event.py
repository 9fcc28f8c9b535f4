"""One logged impression with what followed it, and what a data set must offer; knows no file format."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Event:
    """An impression from a log.

    Attributes:
        time_ms: When it was shown, milliseconds in the log's own clock.
        key: The join key, unique in the data set.
        fields: The impression's features by column name.
        click_after: How long after the impression the click came, in join windows (1.0 = just when the window
            closes); None where it was not clicked. A log without click times has these drawn, see
            :func:`springtide.datasets.delays.draw_delays`.
    """

    time_ms: int
    key: str
    fields: Mapping[str, object]
    click_after: float | None


class Dataset(Protocol):
    """A log that can be replayed."""

    @property
    def name(self) -> str: ...

    @property
    def about(self) -> str:
        """One line on size and source."""
        ...

    def document(self) -> dict[str, Any]:
        """The parts of pipeline.yaml that belong to the data: events, features, tables, model."""
        ...

    def count(self) -> int:
        """Number of events."""
        ...

    def events(self) -> Iterator[Event]:
        """All events in time order; every call yields the same."""
        ...
