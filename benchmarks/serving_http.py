"""What a replica answers over HTTP per CPU second of its predictor, and how steadily while versions come."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.asking import http
from benchmarks.figures import Figure
from benchmarks.serving_client import Call, Load, ask_all, binary_call, json_call, rows_call
from benchmarks.serving_servers import PIPELINE, Served, served
from benchmarks.serving_workload import KEYS, LOAD, NAMES, USER_FEATURES, Trained, make_pipeline, requests
from infra.local.ports import free_ports
from infra.spec import Pipeline
from serving.beginning import private_bytes, settle_memory

ROUNDS: Final = 9
REQUESTS: Final = 150
ALTERNATIONS: Final = 10
PHASE_S: Final = 2.5
CLIENTS: Final = 4
DELTA_ROWS: Final = 1_000_000
SMALL_DELTA_ROWS: Final = 100_000
SMALL_DELTAS: Final = 9
MIB: Final = 1 << 20
APPLYING: Final = "springtide_replica_apply_seconds_sum"


class Held:
    """A store whose newest versions are held back until they are released, so that writing them disturbs nobody."""

    def __init__(self, model: Trained, written: Path, shown: Path) -> None:
        self._model = model
        self._written = written
        self._shown = shown
        self._waiting: list[list[Path]] = []
        self._known = self._files()
        shutil.copytree(written, shown)

    def commit(self, rows: int) -> None:
        """Writes a version with that many changed rows, over all tables."""
        count = rows // len(NAMES)
        self._model.commit(np.sort(self._model.random.permutation(KEYS)[:count]))
        files = self._files()
        new = [file for file, changed in files.items() if self._known.get(file) != changed]
        # The manifest, by which a version is found, is written last.
        self._waiting.append(sorted(new, key=lambda file: files[file]))
        self._known = files

    def release(self) -> None:
        """Shows the oldest version that is held back."""
        for file in self._waiting.pop(0):
            to = self._shown / file.relative_to(self._written)
            to.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                new = to.with_name(f".{to.name}.new")
                os.link(file, new)
                new.replace(to)

    def _files(self) -> dict[Path, int]:
        return {file: file.stat().st_mtime_ns for file in self._written.rglob("*") if file.is_file()}


def http_figures(replica: Served, stacked: Served, direct: Served, rows: Served) -> Iterator[Figure]:
    """http_shared_user_vs_stock, http_json_vs_stock."""
    asked = requests(REQUESTS)
    binary, columns = [binary_call(ids) for ids in asked], [json_call(ids) for ids in asked]
    objects = [rows_call(ids) for ids in asked]
    spent = _alternate({"ours": (replica, binary), "stock": (stacked, binary), "direct": (direct, binary)})
    ratio = statistics.median(b / a for a, b in zip(spent["ours"], spent["stock"], strict=True))
    alike = statistics.median(b / a for a, b in zip(spent["ours"], spent["direct"], strict=True))
    what = f"stacked SavedModel behind the same web application; {alike:.2f} times with the replica's connections too"
    yield Figure("http_shared_user_vs_stock", ratio, "", 3.0, ">=", _against(spent, what))
    spent = _alternate({"ours": (replica, columns), "stock": (rows, objects)})
    ratio = statistics.median(b / a for a, b in zip(spent["ours"], spent["stock"], strict=True))
    what = "SavedModel behind Starlette + pydantic, objects by row"
    yield Figure("http_json_vs_stock", ratio, "", 3.0, ">=", _against(spent, what))


def _against(spent: dict[str, list[float]], what: str) -> str:
    least = f"{min(spent['ours']):.0f} against {min(spent['stock']):.0f} µs of CPU a request"
    return f"{LOAD}, {USER_FEATURES} features shared; {what}; {least}"


def _alternate(asked: dict[str, tuple[Served, list[Call]]]) -> dict[str, list[float]]:
    """CPU microseconds per request of each round."""
    spent: dict[str, list[float]] = {name: [] for name in asked}
    for turn in range(ROUNDS + 1):
        for name, (server, calls) in asked.items():
            cost = _cpu_us(server, calls)
            if turn:  # the first warms up
                spent[name].append(cost)
    return spent


def _cpu_us(server: Served, calls: list[Call]) -> float:
    before = server.cpu_s()
    ask_all(server.port, calls)
    return (server.cpu_s() - before) / len(calls) * 1e6


def steady_figures(replica: Served, held: Held) -> Iterator[Figure]:
    """p99_apply_vs_idle, apply_after_download_ms."""
    calls = [binary_call(ids) for ids in requests(64)]
    ratios, idle_ms, apply_ms = [], [], []
    # The client's own pauses would count as the replica's: models that this process has loaded are not walked any more.
    settle_memory()
    with asyncio.Runner() as runner:
        load = Load(replica.port, calls)
        peak = statistics.median(runner.run(load.peak(PHASE_S, CLIENTS)) for _ in range(3))
        for _ in range(ALTERNATIONS):
            idle = np.percentile(runner.run(load.at_rate(peak / 2, PHASE_S)), 99)
            before = version(replica)
            held.release()
            applying = np.percentile(runner.run(load.at_rate(peak / 2, PHASE_S)), 99)
            wait_until_more(lambda: version(replica), before)
            idle_ms.append(float(idle))
            apply_ms.append(float(applying))
            ratios.append(float(applying / idle))
        load.close()
    against = (
        f"open loop at half of {peak:.0f} requests/s, one predictor, {os.cpu_count()} cores shared with the client; "
        f"{DELTA_ROWS} rows applied; median p99 {statistics.median(apply_ms):.2f} against "
        f"{statistics.median(idle_ms):.2f} ms"
    )
    yield Figure("p99_apply_vs_idle", statistics.median(ratios), "", 1.2, "<=", against)
    applied = []
    for _ in range(SMALL_DELTAS):
        spent = metric(replica, APPLYING)
        held.release()
        wait_until_more(lambda: metric(replica, APPLYING), spent)
        applied.append((metric(replica, APPLYING) - spent) * 1e3)
    about = f"{SMALL_DELTA_ROWS} rows over {KEYS * len(NAMES)}, from read to answering; median of {len(applied)}"
    yield Figure("apply_after_download_ms", statistics.median(applied), "ms", 100.0, "<=", about)


def memory_figures(replica: Served) -> Iterator[Figure]:
    """private_mib_per_predictor."""
    calls = [binary_call(ids) for ids in requests(64)]
    with asyncio.Runner() as runner:
        load = Load(replica.port, calls)
        runner.run(load.peak(PHASE_S, 2 * CLIENTS))
        load.close()
    private = [private_bytes(predictor) / MIB for predictor in replica.predictors()]
    yield Figure("private_mib_per_predictor", max(private), "MiB", 100.0, "<=", f"{len(private)} predictors, {LOAD}")


def version(server: Served) -> int:
    """The version that answers."""
    return int(http().get(f"http://127.0.0.1:{server.port}/status").json()["version"])


def metric(server: Served, name: str) -> float:
    """The sum of the metric's series."""
    lines = http().get(f"http://127.0.0.1:{server.port}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def wait_until_more(value: Callable[[], float], before: float, within_s: float = 60.0) -> None:
    """Returns once ``value`` gives more than it gave before.

    Raises:
        RuntimeError: It does not, within that time.
    """
    deadline = time.perf_counter() + within_s
    while value() <= before:
        if time.perf_counter() > deadline:
            raise RuntimeError("the replica did not get there")
        time.sleep(0.02)


def process_figures(model: Trained, written: Path, stock: Path, folder: Path) -> Iterator[Figure]:
    """All figures that need servers."""
    shown = folder / "shown"
    held = Held(model, written, shown)
    ports = free_ports(5)
    with (
        served("replica", _home(folder / "one", shown, 1), ports[0]) as replica,
        served("stacked", stock, ports[1]) as stacked,
        served("direct", stock, ports[2]) as direct,
        served("json", stock, ports[3]) as rows,
    ):
        yield from http_figures(replica, stacked, direct, rows)
    # Written while nothing is measured, shown one by one.
    for rows_of_one in [DELTA_ROWS] * ALTERNATIONS + [SMALL_DELTA_ROWS] * SMALL_DELTAS:
        held.commit(rows_of_one)
    with served("replica", folder / "one", ports[0]) as replica:
        yield from steady_figures(replica, held)
    with served("replica", _home(folder / "two", shown, 2), ports[4]) as replica:
        yield from memory_figures(replica)


def _home(folder: Path, store: Path, predictors: int) -> Path:
    folder.mkdir()
    pipeline: Pipeline = make_pipeline(store.as_uri(), predictors=predictors)
    (folder / PIPELINE).write_text(pipeline.model_dump_json(), encoding="utf-8")
    return folder
