"""Peak memory of this process and all below it, counted fairly; must not know what they are."""

# SPDX-License-Identifier: Apache-2.0
# The figure is the sum of the proportional set sizes (PSS): a page shared by n processes counts 1/n in each, so shared
# libraries and the pages of forked processes count once. A sum of resident sizes would count them n times.
from __future__ import annotations

import threading
from typing import Self

import psutil  # type: ignore[import-untyped]

INTERVAL_SECONDS = 1.0
MEBIBYTE = 1 << 20


def tree_mebibytes(root: int | None = None) -> float:
    """MiB of PSS of process ``root`` (None: this one) and all its descendants, now."""
    try:
        top = psutil.Process(root)
        processes = [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    total = 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # it ended meanwhile; a zombie has no memory to see
            continue
    return total / MEBIBYTE


class PeakMemory:
    """Measures once a second, in a thread of its own, from `start` to `stop`; a peak between two looks is not seen.

    Args:
        root: The process whose tree is measured; None takes this one.
        interval_seconds: Time between two looks; one costs some milliseconds for a dozen processes.
    """

    def __init__(self, root: int | None = None, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._root = root
        self._interval = interval_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="peak-memory", daemon=True)
        self._peak = 0.0

    @property
    def peak_mebibytes(self) -> float:
        """The largest figure so far, MiB."""
        return self._peak

    def start(self) -> None:
        self._look()
        self._thread.start()

    def stop(self) -> float:
        """Takes a last look and ends the thread; the peak in MiB."""
        self._ended.set()
        self._thread.join()
        self._look()
        return self._peak

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            self._look()

    def _look(self) -> None:
        self._peak = max(self._peak, tree_mebibytes(self._root))
