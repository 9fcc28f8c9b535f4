"""A whole loop's page in a real browser: its figures are those of `/metrics`, and its buttons steer all replicas."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from prometheus_client.parser import text_string_to_metric_families

from tests.asking import HTTP
from tests.dashboard.browsing import launched, tab, window
from tests.loop.conftest import TOKEN, RunningLoop

# The page's promise is a second or two; what is awaited here ends by itself, on a busy machine later.
PIN_SECONDS = 2.0
WAIT_SECONDS = 30
PINS = 3


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with launched(chromium) as found:
        yield found


def metrics(address: str) -> dict[str, float]:
    """Every series of a process, by name and labels as `/metrics` writes them."""
    text = HTTP.get(f"{address}/metrics", timeout=10).text
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def served(running: RunningLoop) -> set[int]:
    """The versions that the replicas answer from."""
    replicas = running.pipeline.dashboard.targets.replicas
    return {int(metrics(address)["springtide_replica_version"]) for address in replicas}


def figures(shown: Page) -> dict[str, Any]:
    """What the page says, as numbers of `/metrics` would be written on it."""
    return {
        "tables": [row.inner_text().split("\t") for row in shown.locator("#tables tbody tr").all()],
        "replicas": shown.locator("#replicas .ver").all_inner_texts(),
        "epoch": shown.locator("#processes li", has_text="learner").inner_text().partition("epoch ")[2],
        "chain": shown.locator("#storage-figures div").nth(1).inner_text(),
    }


def expected(running: RunningLoop, page: str) -> dict[str, Any]:
    """The same, made of what the processes export."""
    targets = running.pipeline.dashboard.targets
    assert targets.learner is not None
    learner, own = metrics(targets.learner), metrics(page)

    def table(name: str) -> list[str]:
        rows, memory, made, gone = (
            learner[f"springtide_table_{what} {name}"]
            for what in ("rows", "memory_bytes", "admitted_total", "evicted_total")
        )
        return [name, f"{rows:,.0f}", size(memory), f"{made:,.0f}", f"{gone:,.0f}"]

    return {
        "tables": [table(name) for name in ("item", "tag", "user")],
        "replicas": [f"v{metrics(each)['springtide_replica_version']:,.0f}" for each in targets.replicas],
        "epoch": f"{learner['springtide_learner_epoch']:.0f}",
        "chain": f"chain\n{size(own['springtide_store_chain_bytes'])}\n"
        f"{own['springtide_store_chain_versions']:,.0f} versions since",
    }


def size(count: float) -> str:
    """Bytes as the page writes them."""
    units = iter(("B", "KiB", "MiB", "GiB"))
    unit = next(units)
    while count >= 1024:
        count, unit = count / 1024, next(units)
    places = 1 if count < 10 and unit != "B" else 0
    rounded = math.floor(count * 10**places + 0.5) / 10**places  # a half goes up in a browser
    return f"{rounded:.{places}f} {unit}"


def decide(shown: Page, button: str) -> None:
    """Opens the dialog by its button and fills it, but does not send it."""
    shown.get_by_role("button", name=button, exact=True).click()
    dialog = shown.get_by_role("dialog")
    for label, text in (("Token", TOKEN), ("Who", "Ada"), ("Why", "a test")):
        dialog.get_by_label(label).fill(text)


@pytest.mark.long
def test_the_page_of_a_whole_loop_tells_the_truth_and_steers_it(running: RunningLoop, browser: Browser) -> None:
    page = running.loop.addresses["page"]
    running.start_traffic()
    running.await_versions(6)
    running.stop_traffic()
    running.assert_nothing_lost()
    with window(browser) as context:
        watched = tab(context)
        shown = watched.page
        shown.goto(page)
        expect(shown.locator("#tables tbody tr")).to_have_count(3, timeout=WAIT_SECONDS * 1000)
        # A heartbeat between two looks makes them differ; the sums on the page are some seconds old.
        seen: list[tuple[dict[str, Any], dict[str, Any]]] = []

        def told() -> bool:
            seen.append((figures(shown), expected(running, page)))
            shown.wait_for_timeout(200)
            return seen[-1][0] == seen[-1][1]

        try:
            running.until(told, WAIT_SECONDS, "the same figures")
        except AssertionError:
            assert seen[-1][0] == seen[-1][1]
            raise

        rows = HTTP.get(f"{page}/api/versions", timeout=10).json()["versions"]
        newest, older = [row["version"] for row in rows if row["kind"] == "delta" and row["servable"]][:2]
        took = []
        for _, version in zip(range(PINS), (older, newest, older), strict=True):
            decide(shown, "Pin another version")
            shown.get_by_role("dialog").get_by_label("Version").fill(str(version))
            began = running.clock.monotonic()
            shown.locator("#decide-send").click()
            running.until(lambda version=version: served(running) == {version}, WAIT_SECONDS, "pinned")  # type: ignore[misc]
            took.append(running.clock.monotonic() - began)
        assert statistics.median(took) <= PIN_SECONDS, took
        expect(shown.locator("#holds")).to_contain_text(f"pinned to version {older:,} by Ada")
        expect(shown.locator("#replicas .ver")).to_have_text([f"v{older:,}"] * 2)
        expect(shown.locator("#why")).to_contain_text(f"Replicas are pinned to version {older} by Ada since")
        assert watched.complaints == [] and watched.grave() == []

        shown.evaluate("document.body.dataset.sameDocument = 'yes'")
        running.loop.processes["page"].terminate()
        expect(shown.locator("#lost")).to_contain_text("no contact since", timeout=WAIT_SECONDS * 1000)
        running.loop.restart("page")
        expect(shown.locator("#lost")).to_be_hidden(timeout=WAIT_SECONDS * 1000)
        expect(shown.locator("#holds")).to_contain_text(f"pinned to version {older:,} by Ada")
        assert served(running) == {older}
        assert shown.evaluate("document.body.dataset.sameDocument") == "yes", "the page was loaded anew"
        decide(shown, "Resume")
        shown.locator("#decide-send").click()
        running.until(lambda: min(served(running)) >= newest, WAIT_SECONDS, "the newest again")
        expect(shown.locator("#holds")).not_to_contain_text("pinned")
        assert watched.asked == {page.removeprefix("http://")}
