"""The page in a real browser: what it shows, how it looks without contact, and that it asks nobody else."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Route, expect

from tests.dashboard.browsing import WAIT_MS, window
from tests.dashboard.browsing import tab as opened
from tests.dashboard.loop import Loop, served

# For a tick whose figures and lines came: whether its figures had come with an earlier script.
_EARLIER = """() => new Promise((done) => {
  const figures = new Set();
  new MutationObserver((changes, observer) => {
    const { tick, drawn } = document.body.dataset;
    const wrote = new Set(changes.map((change) => change.attributeName));
    const known = figures.has(drawn);
    if (wrote.has('data-tick')) figures.add(tick);
    if (!wrote.has('data-drawn') || !figures.has(drawn)) return;
    observer.disconnect();
    done(known);
  }).observe(document.body, { attributes: true, attributeFilter: ['data-tick', 'data-drawn'] });
})"""


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with window(browser) as made:
        yield made


def test_the_page_shows_the_figures_of_the_api_and_asks_nobody_else(loop: Loop, context: BrowserContext) -> None:
    manifest = loop.commit(oldest_received_ms=loop.click("k1").received_ms)
    loop.sample("k1", "click")
    manifest = loop.commit()
    loop.apply_everywhere(manifest)
    with served(loop.pipeline) as page:
        watched = opened(context)
        tab = watched.page
        tab.goto(page.url)
        expect(tab.locator("#behind")).to_have_text("0.0", timeout=WAIT_MS)
        expect(tab.locator("#status")).to_contain_text("within SLO")
        expect(tab.locator("#status .shape")).to_be_visible()
        expect(tab.locator("#about")).to_have_text(f"{loop.pipeline.name} · deepfm · version {manifest.version}")

        click = loop.click("k2")
        expect(tab.locator("#why")).to_contain_text("waits for its verdict from the join", timeout=WAIT_MS)
        state = page.until(lambda s: s["headline"]["oldest_received_ts"] == click.received_ms)
        shown = float(tab.locator("#behind").inner_text())
        assert abs(shown - state["headline"]["behind_ms"] / 1000) < 1.2

        loop.sample("k2", "click")
        manifest = loop.commit(oldest_received_ms=click.received_ms)
        loop.apply_everywhere(manifest)
        expect(tab.locator("#why")).to_contain_text("Caught up", timeout=WAIT_MS)
        state = page.until(lambda s: s["waterfall"] and s["waterfall"]["version"] == manifest.version)
        stages = [f"{ms / 1000:.2f} s" for ms in state["waterfall"]["stages_ms"]]
        expect(tab.locator("#waterfall .row .value")).to_have_text(stages)
        expect(tab.locator("#replicas .replica b")).to_have_text(["replica-0", "replica-1"])
        expect(tab.locator("#replicas .replica .ver")).to_have_text([f"v{manifest.version}"] * 2)
        overall = state["quality"]["overall"]
        figures = [f"{overall['auc']:.3f}", f"{overall['log_loss']:.3f}", f"{overall['calibration']:.2f}"]
        expect(tab.locator("#quality-figures dd:not(.note)")).to_have_text(figures)
        expect(tab.locator("#versions tbody tr").first).to_contain_text("replica-0, replica-1")
        for canvas in ("behind-chart", "quality-chart", "rates-chart"):
            expect(tab.locator(f"#{canvas} canvas")).to_be_visible()
            assert re.search(r"\d", tab.locator(f"#{canvas}").get_attribute("aria-label") or "")
        for twin in ("behind", "waterfall", "replicas", "quality", "rates"):
            tab.locator(f"#{twin}-table summary").click()
            expect(tab.locator(f"#{twin}-table tbody tr").first).to_be_visible()

        assert watched.asked == {urlsplit(page.url).netloc}
        assert (
            watched.complaints == []
        )  # among others: the content security policy and the integrity of the chart library hold
        policy = page.get("/").headers["content-security-policy"]
        assert policy.startswith("default-src 'self'") and "unsafe" not in policy


def test_words_and_figures_stand_there_before_the_lines(loop: Loop, context: BrowserContext) -> None:
    loop.apply_everywhere(loop.commit())
    with served(loop.pipeline) as page:
        tab = opened(context).page
        tab.goto(page.url)
        expect(tab.locator("#behind-chart canvas")).to_be_visible(timeout=WAIT_MS)
        # An observer is told when a script has ended, so that the browser could show what it wrote.
        assert tab.evaluate(_EARLIER) is True


def test_lost_contact_is_said_and_ends_by_itself(loop: Loop, context: BrowserContext) -> None:
    loop.apply_everywhere(loop.commit())
    tab = opened(context).page
    with served(loop.pipeline) as page:
        tab.goto(page.url)
        expect(tab.locator("#behind")).to_have_text("idle", timeout=WAIT_MS)
        port = urlsplit(page.url).port
        assert port is not None
        tab.evaluate("document.body.dataset.sameDocument = 'yes'")
    expect(tab.locator("#lost")).to_have_text(re.compile(r"no contact since \d\d:\d\d:\d\d"), timeout=WAIT_MS)
    assert float(tab.locator("main").evaluate("main => getComputedStyle(main).opacity")) < 0.6
    expect(tab.locator("#behind")).to_have_text("idle")
    with served(loop.pipeline, port=port):
        expect(tab.locator("#lost")).to_be_hidden(timeout=WAIT_MS)
        assert float(tab.locator("main").evaluate("main => getComputedStyle(main).opacity")) == 1
        expect(tab.locator("#events")).to_contain_text("page started")
        assert tab.evaluate("document.body.dataset.sameDocument") == "yes", "the page was loaded anew"


def test_what_happened_between_two_streams_is_read_when_the_second_begins(loop: Loop, context: BrowserContext) -> None:
    """The page's server is back before the tab finds its silence long."""
    first = loop.commit()
    loop.apply_everywhere(first)
    tab = opened(context).page
    newest = tab.locator("#versions tbody tr").first
    with served(loop.pipeline) as page:
        tab.goto(page.url)
        expect(newest).to_contain_text(f"v{first.version}", timeout=WAIT_MS)
    later = loop.commit()
    with served(loop.pipeline, port=urlsplit(page.url).port or 0):
        expect(newest).to_contain_text(f"v{later.version}", timeout=WAIT_MS)


def test_a_past_that_could_not_be_read_is_asked_for_again(loop: Loop, context: BrowserContext) -> None:
    loop.apply_everywhere(loop.commit())
    watched = opened(context)
    asked: list[str] = []

    def fail_once(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.fulfill(status=503)
        else:
            route.continue_()

    watched.page.route("**/api/history*", fail_once)
    with served(loop.pipeline) as page:
        with watched.page.expect_response(lambda reply: "/api/history" in reply.url and reply.ok, timeout=WAIT_MS):
            watched.page.goto(page.url)
        expect(watched.page.locator("#events")).to_contain_text("page started", timeout=WAIT_MS)
    assert len(asked) == 2
    assert any("the past could not be read" in each for each in watched.complaints)


def test_an_empty_loop_teaches_and_a_phone_scrolls_one_way_only(loop: Loop, browser: Browser) -> None:
    """The one manifest is the learner's claim: nothing is servable yet."""
    with window(browser, width=390, dark=False) as context, served(loop.pipeline) as page:
        watched = opened(context)
        tab = watched.page
        tab.goto(page.url)
        expect(tab.locator("#status")).to_contain_text("starting", timeout=WAIT_MS)
        expect(tab.locator("#why")).to_contain_text("No replica has applied a version yet")
        expect(tab.locator("#waterfall")).to_contain_text("springtide probe")
        expect(tab.locator("main")).to_contain_text("Each sample is predicted before it is learned")
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
        light = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        button = tab.get_by_role("button", name="Dark")
        button.focus()
        tab.keyboard.press("Enter")
        expect(button).to_have_attribute("aria-pressed", "true")
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != light
        tab.reload()
        expect(tab.locator("html")).to_have_attribute("data-theme", "dark")

        tab.get_by_role("radio", name="10 min").focus()
        tab.keyboard.press("ArrowRight")
        expect(tab.get_by_role("radio", name="1 h", exact=True)).to_have_attribute("aria-checked", "true")
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
        assert watched.complaints == []
