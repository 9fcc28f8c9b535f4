"""What the page costs and how late it is, beside a loop under load; run by `make bench-page`."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil  # type: ignore[import-untyped]
from playwright.sync_api import Page, Request, sync_playwright
from rich.console import Console

from benchmarks.figures import Figure, report
from benchmarks.freshness import DATA, JOIN, endless
from infra.clock import SystemClock
from infra.errors import Unavailable
from infra.kafka import Producer
from infra.local.stack import LocalStack
from springtide.datasets.movielens import MovieLens
from springtide.datasets.pace import steady
from springtide.datasets.replay import Replay
from springtide.local_pipeline import Ports, local_pipeline
from springtide.loop import Loop

EVENTS_PER_SECOND = 500
WARM_UP_SECONDS = 30.0
# Long enough for a first roll-up of the history and for a dozen of the slower sections.
MEASURED_SECONDS = 90.0
# Beside the browser; together they are the three viewers.
PLAIN_VIEWERS = 2
KIB = 1024

# When the page had written a tick's figures, when it had drawn its lines, and when the server had made it: all by this
# machine's clock. Observers are told when the script that wrote has ended, which is when a browser can show it.
_WATCH = """() => {
  for (const name of ['tick', 'drawn']) {
    globalThis[name] = [];
    new MutationObserver(() => globalThis[name].push(Date.now() - Number(document.body.dataset[name])))
      .observe(document.body, { attributes: true, attributeFilter: [`data-${name}`] });
  }
}"""


@dataclass(frozen=True)
class Measured:
    """What was seen.

    Attributes:
        load_bytes: Of everything that a first visit fetches, as it went over the wire.
        processor_percent: Of one core, by the page's server.
        lateness_ms: From each tick to the moment when its figures were in the page,
        drawn_ms: and to the moment when its lines were, too.
        viewer_bytes_per_s: Of each plain viewer's stream, as it went over the wire.
        resident_bytes: Of the page's server at the end.
    """

    load_bytes: int
    processor_percent: float
    lateness_ms: list[float]
    drawn_ms: list[float]
    viewer_bytes_per_s: list[float]
    resident_bytes: int


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        raise Unavailable("chromium not found", cure="apt-get install chromium")
    console = Console(stderr=True)
    with loaded_loop(console) as loop:
        measured = measure(loop, chromium)
    return report("page", figures(measured))


@contextmanager
def loaded_loop(console: Console) -> Iterator[Loop]:
    """A whole loop with two replicas and the page, warmed up, and traffic on it."""
    clock, stop = SystemClock(), threading.Event()
    dataset = MovieLens.load(DATA)
    clicked = sum(event.click_after is not None for event in dataset.events()) / dataset.count()
    with tempfile.TemporaryDirectory(prefix="springtide-bench-") as folder:
        home = Path(folder)
        with LocalStack(home / "stack") as stack:
            pipeline = local_pipeline(
                dataset.document(), name="page", stack=stack, home=home, ports=Ports.free(), join=JOIN
            )
            loop = Loop(pipeline, home, home / "logs")
            loop.create_topics()
            loop.start()
            replay = Replay(pipeline.events, pipeline.join.window.ms, Producer(pipeline.kafka), clock)
            log = steady(endless(dataset.events()), EVENTS_PER_SECOND / (1 + clicked))
            traffic = threading.Thread(target=lambda: replay.run(log, speed=1.0, stop=stop), name="traffic")
            traffic.start()
            try:
                console.print("warming up")
                clock.sleep(WARM_UP_SECONDS)
                yield loop
            finally:
                stop.set()
                traffic.join()
                loop.stop()


def measure(loop: Loop, chromium: str) -> Measured:
    """Three viewers for :data:`MEASURED_SECONDS`."""
    address, clock = loop.addresses["page"], SystemClock()
    server = psutil.Process(loop.processes["page"].pid)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        shown = browser.new_page(viewport={"width": 1160, "height": 900})
        load = first_visit(shown, address)
        shown.evaluate(_WATCH)
        received = [0] * PLAIN_VIEWERS
        stop = threading.Event()
        viewers = [threading.Thread(target=watch, args=(address, received, n, stop)) for n in range(PLAIN_VIEWERS)]
        for viewer in viewers:
            viewer.start()
        clock.sleep(2)  # the first message is everything there is
        before, bytes_before, began = processor_seconds(server), list(received), clock.monotonic()
        clock.sleep(MEASURED_SECONDS)
        spent, elapsed = processor_seconds(server) - before, clock.monotonic() - began
        streamed = [(now - then) / elapsed for now, then in zip(received, bytes_before, strict=True)]
        late, drawn = ([float(each) for each in shown.evaluate(name)] for name in ("tick", "drawn"))
        stop.set()
        for viewer in viewers:
            viewer.join()
        browser.close()
    return Measured(load, 100 * spent / elapsed, late, drawn, streamed, server.memory_info().rss)


def first_visit(shown: Page, address: str) -> int:
    """Opens the page and counts what it fetches, packed as it is sent; its stream is counted elsewhere."""
    found: list[Request] = []
    shown.on("requestfinished", lambda request: found.append(request))  # noqa: PLW0108 - Playwright marks the handler
    shown.goto(address)
    shown.wait_for_function(
        "document.body.dataset.tick !== undefined && document.querySelector('#behind-chart canvas')"
    )
    shown.wait_for_timeout(1_500)
    assert {urlsplit(request.url).netloc for request in found} == {urlsplit(address).netloc}
    sizes = [request.sizes() for request in found]
    return sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes)


def watch(address: str, received: list[int], place: int, stop: threading.Event) -> None:
    """A viewer that keeps nothing but the count of the bytes it was sent."""

    async def read() -> None:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=10) as client,
            client.stream("GET", f"{address}/api/live", headers={"Accept-Encoding": "gzip"}) as answer,
        ):
            async for part in answer.aiter_raw():
                received[place] += len(part)
                if stop.is_set():
                    return

    asyncio.run(read())


def processor_seconds(process: psutil.Process) -> float:
    """Of a process and of what it has started."""
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def figures(measured: Measured) -> list[Figure]:
    """The figures, their targets, and what they were measured against."""
    load = os.getloadavg()[0]
    against = (
        f"one model, two replicas, three viewers at 1 Hz, {MEASURED_SECONDS:g} s, {EVENTS_PER_SECOND} events/s, "
        f"all of it on {os.cpu_count()} cores, load {load:.1f}"
    )
    late = sorted(measured.lateness_ms)
    p99 = late[min(len(late) - 1, int(0.99 * len(late)))]
    return [
        Figure("load_kib", measured.load_bytes / KIB, "KiB", 300, "<=", "a first visit, headers and all"),
        Figure("server_cpu_percent", measured.processor_percent, "% of a core", 1, "<=", against),
        Figure("update_p50_ms", statistics.median(late), "ms", 50, "<=", f"tick to DOM, {len(late)} ticks, Chromium"),
        Figure("update_p99_ms", p99, "ms", None, "<=", "the same"),
        Figure("drawn_p50_ms", statistics.median(measured.drawn_ms), "ms", None, "<=", "tick to lines in the charts"),
        Figure("bytes_per_s_per_viewer", max(measured.viewer_bytes_per_s), "B/s", 1000, "<=", "the worst viewer's"),
        Figure("server_resident_mib", measured.resident_bytes / KIB**2, "MiB", None, "<=", "at the end"),
    ]


if __name__ == "__main__":
    sys.exit(main())
