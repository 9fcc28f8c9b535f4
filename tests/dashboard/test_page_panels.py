"""The page's panels in a real browser: storage, tables, slices and dead letters show the API's figures, and open."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from streaming import topics
from tests.dashboard.browsing import WAIT_MS, tab, window
from tests.dashboard.loop import BUCKET_MS, CLOCK, Loop, quality_of, served


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with window(browser) as made:
        yield made


def test_storage_tables_and_slices_show_the_figures_of_the_api(loop: Loop, context: BrowserContext) -> None:
    loop.learner.status["tables"] = {
        "user": {"rows": 1_412_000, "memory_bytes": 3 << 30, "admitted": 7_310, "evicted": 12},
        "item": {"rows": 900, "memory_bytes": 1 << 20, "admitted": 900, "evicted": 0},
    }
    bucket = CLOCK.now_ms() // BUCKET_MS * BUCKET_MS
    off = quality_of(90, 30, seed=4)
    off["prediction_sum"] = 45.0
    slices = {"place": {"home": quality_of(80, 20, seed=3), "mail": off}}
    buckets = {str(bucket): quality_of(200, 60) | {"slices": slices, "labels": {"buy": quality_of(200, 9)}}}
    loop.apply_everywhere(loop.commit(metrics=buckets))
    with served(loop.pipeline) as page:
        watched = tab(context)
        shown = watched.page
        shown.goto(page.url)
        tables = shown.locator("#tables tbody tr")
        expect(tables).to_have_text(["item9001.0 MiB9000", "user1,412,0003.0 GiB7,31012"], timeout=WAIT_MS)

        state = page.until(lambda s: s["slices"])
        assert [row["name"] for row in state["slices"]["rows"]] == ["buy", "place=home", "place=mail"]
        expect(shown.locator("#slices-note")).to_have_text(
            f"versions {state['slices']['from_version']} to {state['slices']['through_version']}"
        )
        rows = shown.locator("#slices tbody tr")
        for row, wanted in zip(rows.all(), state["slices"]["rows"], strict=True):
            figures = [wanted["name"], str(wanted["samples"]), f"{wanted['auc']:.3f}", f"{wanted['log_loss']:.3f}"]
            expect(row.locator("th, td:nth-child(-n+4)")).to_have_text(figures)
            expect(row.locator(".figure-of")).to_contain_text(f"{wanted['calibration']:.2f}")
        expect(rows.nth(2).locator(".figure-of")).to_have_text("▲ 1.50")  # a sign, not a colour alone

        told = shown.locator("#storage-figures div")
        storage = state["storage"]
        expect(told.nth(1)).to_contain_text(f"{storage['chain_versions']} versions since")
        expect(told.nth(3)).to_contain_text(f"{storage['puts_per_hour']:,}/h")
        expect(told.nth(4)).to_contain_text(storage["currency"])
        exported = page.get("/metrics").text
        assert f"springtide_store_chain_versions {float(storage['chain_versions'])}" in exported
        assert watched.complaints == []


def test_a_dead_letter_opens_its_reason_and_its_masked_bytes_also_after_a_restart(
    loop: Loop, context: BrowserContext
) -> None:
    loop.apply_everywhere(loop.commit())
    topic = loop.pipeline.events.feedback[0].topic
    raw = b'{"id": "ada-7", "mail": "ada@home.example"}'
    letter = {"reason": "no_time", "topic": topic, "partition": 0, "offset": 41, "body": base64.b64encode(raw).decode()}
    watched = tab(context)
    shown = watched.page
    with served(loop.pipeline) as page:
        shown.goto(page.url)
        expect(shown.locator("#status")).not_to_contain_text("connecting", timeout=WAIT_MS)
        expect(shown.locator("#dead")).to_be_hidden()
        loop._send(topics.dead(loop.pipeline.name), "x", letter)
        summary = shown.locator("#dead > summary")
        expect(summary).to_have_text(re.compile("Dead letters: the newest 1, last at"), timeout=WAIT_MS)
        summary.click()
        first = shown.locator("#letters li").first
        expect(first.locator("summary")).to_contain_text(f"no_time {topic}[0] at 41")
        first.locator("summary").click()
        expect(first.locator("pre")).to_have_text('{"id": "xxx-9", "xxxx": "xxx@xxxx.xxxxxxx"}')
        expect(first).to_contain_text("without a time of the declared unit. 43 bytes")
        expect(shown.locator("#join-tally")).to_contain_text("dead letters")
        loop._send(topics.dead(loop.pipeline.name), "x", letter | {"reason": "malformed", "body": "/w=="})
        expect(shown.locator("#letters li").first).to_contain_text("They are no text", timeout=WAIT_MS)
        assert "ada" not in shown.content() and watched.complaints == []
    with served(loop.pipeline) as page:
        page.until(lambda s: s["dead"]["kept"] == 2)
        assert [each["reason"] for each in page.get("/api/dead").json()["letters"]] == ["malformed", "no_time"]
