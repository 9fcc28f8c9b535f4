"""What the processes of a replica let each other know: figures and status, in files of a folder of theirs.

A file is replaced whole and outlives who wrote it, so that any of them can answer for all, whoever else has died. What
a dead process has counted is added to what the dead before it have.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from prometheus_client import Metric, generate_latest
from pydantic import ConfigDict, TypeAdapter, ValidationError

from infra.logs import logger
from infra.metrics import Metrics

Role = Literal["supervisor", "follower", "predictor", "past"]
# Gauges that add up; of all others the follower's word counts, and this process's own where it says nothing.
SUMMED: Final = ("process_virtual_memory_bytes", "process_resident_memory_bytes", "process_open_fds")
OWN: Final = ("springtide_ready", "springtide_replica_version", "process_start_time_seconds", "process_max_fds")

COUNTED: Final = ("counter", "histogram")

_log = logger()

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass(frozen=True)
class Sample:
    """One figure of a family."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Family:
    """Figures of one metric, as Prometheus' client has them."""

    name: str
    documentation: str
    type: str
    samples: list[Sample]


@dataclass(frozen=True)
class Posted:
    """What one process let know; in its file, JSON."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", ser_json_inf_nan="constants")

    role: Role
    families: list[Family]
    status: dict[str, Any] = field(default_factory=dict)


_POSTED: Final = TypeAdapter(Posted)


class Board:
    """One process's view of the folder."""

    def __init__(self, folder: Path, role: Role) -> None:
        self._folder = folder
        self._role: Role = role
        self._file = folder / f"{role}-{os.getpid()}"
        self._lock = threading.Lock()

    def post(self, metrics: Metrics, status: Mapping[str, Any] | None = None) -> None:
        """Replaces what this process let know before; where a disk is full, that stands a while longer."""
        with self._lock, contextlib.suppress(OSError):
            self._write(self._file, Posted(self._role, _families(metrics.registry.collect()), dict(status or {})))

    def status(self, role: Role) -> Mapping[str, Any]:
        """What the newest process of that role let know; empty where there is none."""
        return next((posted.status for posted in self._others() if posted.role == role), {})

    def metrics(self, metrics: Metrics) -> bytes:
        """The figures of all processes, in Prometheus' text form; this one's are as of now."""
        own = Posted(self._role, _families(metrics.registry.collect()))
        return generate_latest(_Merged([own, *self._others()]))

    def fold(self, role: Role, process: int) -> None:
        """Adds what a process that died has counted to what others before it have; for the supervisor alone."""
        file, past = self._folder / f"{role}-{process}", self._folder / "past"
        posted = [found for found in (self._read(past), self._read(file)) if found is not None]
        if posted:
            counted = _families(family for family in _Merged(posted).collect() if family.type in COUNTED)
            self._write(past, Posted("past", counted))
        if role == "follower" and posted:
            # What it said last stands until the next one tells another.
            last = [family for family in posted[-1].families if family.type not in COUNTED]
            self._write(self._folder / "follower-last", Posted(role, last, posted[-1].status))
        file.unlink(missing_ok=True)

    def _others(self) -> list[Posted]:
        """What the others let know, the newest first."""
        times: list[tuple[float, Path]] = []
        for file in self._folder.iterdir():
            if file != self._file and file.suffix != ".new":
                with contextlib.suppress(FileNotFoundError):
                    times.append((file.stat().st_mtime, file))
        found = (self._read(file) for _, file in sorted(times, reverse=True))
        return [posted for posted in found if posted is not None]

    def _read(self, file: Path) -> Posted | None:
        try:
            return _POSTED.validate_json(file.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            # What the others let know is worth having all the same.
            _log.error("figures_not_readable", file=file.name, reason=error.errors(include_url=False)[0]["msg"])
            return None

    def _write(self, file: Path, posted: Posted) -> None:
        new = file.with_name(f"{file.name}.new")
        new.write_bytes(_POSTED.dump_json(posted))
        new.replace(file)


def _families(families: Iterable[Metric]) -> list[Family]:
    return [
        Family(
            family.name,
            family.documentation,
            family.type,
            [Sample(sample.name, sample.labels, sample.value) for sample in family.samples],
        )
        for family in families
    ]


class _Merged:
    """The families of several processes as one."""

    def __init__(self, posted: Iterable[Posted]) -> None:
        self._posted = list(posted)

    def collect(self) -> Iterator[Metric]:
        """Every family once."""
        families: dict[str, Family] = {}
        samples: dict[str, Samples] = {}
        # Later ones go over earlier ones: the newest follower has the last word.
        for posted in sorted(reversed(self._posted[1:]), key=lambda one: one.role == "follower"):
            for family in posted.families:
                _merge(families, samples, family, own=False)
        for family in self._posted[0].families:
            _merge(families, samples, family, own=self._posted[0].role != "follower")
        for name, family in families.items():
            merged = Metric(name, family.documentation, family.type)
            for (sample, labels), value in samples[name].items():
                merged.add_sample(sample, dict(labels), value)
            yield merged


def _merge(families: dict[str, Family], samples: dict[str, Samples], family: Family, *, own: bool) -> None:
    families.setdefault(family.name, family)
    into = samples.setdefault(family.name, {})
    added = family.type in COUNTED or family.name in SUMMED
    for sample in family.samples:
        key = sample.name, tuple(sorted(sample.labels.items()))
        if added:
            into[key] = into.get(key, 0.0) + sample.value
        elif not own or family.name in OWN or key not in into:
            into[key] = sample.value
