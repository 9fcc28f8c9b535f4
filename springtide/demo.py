"""Runs the whole loop on this machine and replays a log through it; knows the order of things, not their inside."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from checkpointing.quality import Quality
from infra.bootstrap import STEPS_AND_START, set_up
from infra.clock import Clock, SystemClock
from infra.errors import Invalid
from infra.kafka import Producer
from infra.local import jars
from infra.local.memory import PeakMemory
from infra.local.ports import is_free
from infra.local.stack import LocalStack
from infra.logs import configure
from infra.object_store import open_store
from infra.secrets import read_secret
from springtide.datasets.event import Dataset, Event
from springtide.datasets.pace import steady
from springtide.datasets.replay import Replay, Sent
from springtide.datasets.select import select_dataset
from springtide.demo_display import Display, Moment
from springtide.lifecycle import interrupting
from springtide.local_pipeline import Ports, local_pipeline
from springtide.loop import Loop
from springtide.reckoning import Reckoner, Reckoning
from springtide.watch import Watch

HOME = Path(".springtide")
PAGE_PORT = 8080
SETTLE_SECONDS = 90.0
# A look at every process's pages is not free on a machine that is busy with them.
MEMORY_SECONDS = 5.0
MINUTE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What a person may choose.

    Attributes:
        data: Name of a data set, or the path of the person's own pipeline.yaml.
        files: Folder of a log that is not shipped.
        impressions: The person's impressions, JSON lines.
        feedback: The person's feedback, JSON lines.
        minutes: How long the replay takes.
        once: Leave when the replay is done.
        page_port: Port of the page; None takes 8080 or, if that is taken, a free one.
    """

    data: str
    files: Path | None
    impressions: Path | None
    feedback: Path | None
    minutes: float
    once: bool
    page_port: int | None


def run_demo(settings: DemoSettings, *, stop: threading.Event) -> int:
    """Runs the demo; returns the exit code.

    Returns:
        0 where nothing was lost or doubled; 1 where something was, and with ``once`` also where ``stop`` or a signal
        ended the demo before that was known.

    Raises:
        Invalid: The data set is not to be had as named, or is empty.
        Unavailable: A server or process did not start, or ended.
    """
    clock = SystemClock()
    console = Console()
    configure("demo", settings.data, level="error")
    good: bool | None = None
    try:
        with ExitStack() as cleanup:
            display = cleanup.enter_context(Display(console, clock))
            # Downloads and starts are waited for in many places, none of which can look at the event.
            with interrupting(stop):
                dataset, events = _load(settings)
                if not jars.IS_CHECKOUT:  # there, `make demo` has done it
                    set_up()
                memory = cleanup.enter_context(PeakMemory(interval_seconds=MEMORY_SECONDS))
                loop = cleanup.enter_context(_everything(dataset, settings, display, clock))
            good = _run(dataset.name, events, settings, loop, memory, display, clock, stop)
            if good is not None and console.is_terminal and not settings.once:
                display.say("Still live. Ctrl-C stops everything.   Next: springtide probe")
                _stay(loop, stop, clock)
    except KeyboardInterrupt:
        pass  # the signal that stops the start; everything is gone already
    if good is None:
        console.print("Stopped.", highlight=False)
        return 1 if settings.once else 0
    return 0 if good else 1


def _load(settings: DemoSettings) -> tuple[Dataset, Sequence[Event]]:
    """The data set and all its events, so that a log which cannot be read stops the demo before anything is started."""
    dataset = select_dataset(
        settings.data,
        cache=HOME / "data",
        files=settings.files,
        impressions=settings.impressions,
        feedback=settings.feedback,
    )
    events = list(dataset.events())
    if not events:
        raise Invalid(f"the data set `{dataset.name}` is empty", wanted="one impression at least")
    return dataset, events


def _run(
    name: str,
    events: Sequence[Event],
    settings: DemoSettings,
    loop: Loop,
    memory: PeakMemory,
    display: Display,
    clock: Clock,
    stop: threading.Event,
) -> bool | None:
    """Replays, counts and sums up; whether all is well, None where ``stop`` came before that was known."""
    store = open_store(loop.pipeline.store)
    with Watch(loop.pipeline, store, clock) as watch:
        sent = _replay(name, events, settings.minutes, loop, watch, display, clock, stop)
        if stop.is_set():
            return None

        def goes_on() -> bool:
            loop.require_alive()
            return not stop.is_set()

        with Reckoner(loop.pipeline, store) as reckoner:
            counted = reckoner.settle(
                impressions=sent.impressions, clicks=sent.clicks, clock=clock, seconds=SETTLE_SECONDS, alive=goes_on
            )
        if stop.is_set() and not counted.right:
            return None
        return _summary(counted, watch, memory.peak_mebibytes, loop, display)


@contextmanager
def _everything(dataset: Dataset, settings: DemoSettings, display: Display, clock: Clock) -> Iterator[Loop]:
    """Servers and processes, up and ready; all of them are gone afterwards."""
    begin = clock.monotonic()
    home = HOME / "demo"
    stack = LocalStack(HOME / "stack")
    try:
        stack.start()
        page = settings.page_port or (PAGE_PORT if is_free(PAGE_PORT) else None)
        name = dataset.name.replace("_", "-")
        pipeline = local_pipeline(dataset.document(), name=name, stack=stack, home=home, ports=Ports.free(page=page))
        loop = Loop(pipeline, home, HOME / "logs")
        loop.create_topics()
        loop.start()
        try:
            step = f"{STEPS_AND_START}/{STEPS_AND_START}"
            what = f"{step} kafka s3 flink learner compactor replica×{len(loop.replicas)} page"
            display.step(what, "up", clock.monotonic() - begin)
            display.say(f"Page  {loop.addresses['page']}     Logs  {loop.logs}/")
            if pipeline.dashboard.token is not None:
                display.say(f"Token for the page's buttons  {read_secret(pipeline.dashboard.token)}")
            yield loop
        finally:
            loop.stop()
    finally:
        stack.stop()


def _replay(
    name: str,
    events: Sequence[Event],
    minutes: float,
    loop: Loop,
    watch: Watch,
    display: Display,
    clock: Clock,
    stop: threading.Event,
) -> Sent:
    """Sends the whole log in ``minutes`` and shows what comes of it."""
    log = steady(events, len(events) / (minutes * MINUTE_SECONDS))
    began = clock.monotonic()

    def progress(sent: Sent) -> None:
        loop.require_alive()
        per_second = (sent.impressions + sent.clicks) / max(1e-3, clock.monotonic() - began)
        display.replaying(name, Moment(sent.impressions / len(events), per_second, watch.behind, watch.progressive_auc))

    with Producer(loop.pipeline.kafka) as producer:
        replay = Replay(loop.pipeline.events, loop.pipeline.join.window.ms, producer, clock)
        sent = replay.run(log, speed=1.0, stop=stop, progress=progress)
    display.settle()
    return sent


def _summary(counted: Reckoning, watch: Watch, peak_mib: float, loop: Loop, display: Display) -> bool:
    """The closing lines; whether all is well."""
    p50, p99 = watch.behind_quantiles()
    half = last_half(watch.quality_by_time())
    shown = {"AUC": counted.quality.auc, "AUC last half": half.auc}
    figures = "   ".join(f"{name} {value:.3f}" for name, value in shown.items() if value is not None)
    display.say(
        f"samples {counted.trained:,}   {figures}   behind p50 {p50:.1f} s p99 {p99:.1f} s   "
        f"versions {counted.versions:,}   lost {counted.lost}   doubled {counted.doubled}"
    )
    display.say(
        f"peak memory {peak_mib / 1024:.1f} GiB   late {counted.late}   orphans {counted.orphans}   "
        f"dead letters {sum(counted.dead.values())}"
    )
    if not counted.right:
        dead = "".join(f", dead letters of `{topic}` {count}" for topic, count in counted.dead.items())
        display.say(
            f"FAILED: lost {counted.lost_impressions} impressions, {counted.lost_clicks} clicks and {counted.missed} "
            f"samples, doubled {counted.doubled}, records in no batch or in two {counted.uncovered}, "
            f"outcomes of nothing sent {counted.unsent}{dead}. Cure: read {loop.logs}/"
        )
    return counted.right


def last_half(by_time: dict[int, Quality]) -> Quality:
    """The quality of the last half of the impressions' time."""
    total = Quality()
    if not by_time:
        return total
    middle = (min(by_time) + max(by_time)) / 2
    for start, quality in by_time.items():
        if start >= middle:
            total.add(quality)
    return total


def _stay(loop: Loop, stop: threading.Event, clock: Clock) -> None:
    while not clock.wait(stop, 1.0):
        loop.require_alive()
