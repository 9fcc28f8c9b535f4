"""How the page looks in each state of the loop: its words, and nothing that axe-core finds serious."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.dashboard.browsing import WAIT_MS, tab, window
from tests.dashboard.loop import Loop, served


@pytest.mark.parametrize(
    ("width", "dark"),
    [
        (1160, True),
        (390, False),
        pytest.param(390, True, marks=pytest.mark.long),
        pytest.param(1160, False, marks=pytest.mark.long),
    ],
)
def test_nothing_grave_is_found_on_a_full_page_however_it_is_shown(
    loop: Loop, browser: Browser, width: int, dark: bool
) -> None:
    loop.apply_everywhere(loop.commit(oldest_received_ms=loop.click("k1").received_ms))
    loop.commit(refused="calibration: 1.42 against 1.01")
    with window(browser, width=width, dark=dark) as context, served(loop.pipeline) as page:
        watched = tab(context)
        shown = watched.page
        shown.goto(page.url)
        expect(shown.locator("#versions tbody tr").first).to_contain_text("refused", timeout=WAIT_MS)
        for twin in shown.locator(".twin:visible > summary").all():
            twin.click()
        expect(shown.locator("#quality-table tbody tr").first).to_be_visible()
        assert watched.grave() == []
        assert shown.evaluate("document.documentElement.scrollWidth") == width
        shown.get_by_role("button", name="Pin another version").click()
        expect(shown.get_by_role("dialog", name="Pin replicas to a version")).to_be_visible()
        assert watched.grave() == []
        assert watched.complaints == []


def test_idle_held_refused_and_lost_say_what_they_are(loop: Loop, browser: Browser) -> None:
    loop.apply_everywhere(loop.commit())
    with window(browser) as context:
        watched = tab(context)
        shown = watched.page
        with served(loop.pipeline) as page:
            shown.goto(page.url)
            why, status = shown.locator("#why"), shown.locator("#status")
            expect(status).to_have_attribute("data-kind", "idle", timeout=WAIT_MS)
            expect(status).to_contain_text("idle")
            expect(why).to_contain_text("No feedback on")
            assert watched.grave() == []

            loop.join.status["held"] = ["click"]
            expect(status).to_contain_text("needs a look", timeout=WAIT_MS)
            topic = loop.pipeline.events.feedback[0].topic
            expect(why).to_have_text(re.compile(rf"^No feedback on {topic}.*: negatives are held; see .*feedback-held"))
            expect(why.locator("code")).to_have_text(topic)
            assert watched.grave() == []
            loop.join.status["held"] = []

            refused = loop.commit(refused="norm: 9 against 2")
            expect(why).to_contain_text("The newest version is refused: norm: 9 against 2", timeout=WAIT_MS)
            first = shown.locator("#versions tbody tr").first
            expect(first).to_contain_text(f"v{refused.version}")
            expect(first.locator(".verdict")).to_have_attribute("data-kind", "bad")
            expect(first.get_by_role("button", name=f"Promote version {refused.version}")).to_be_visible()
            expect(first.get_by_role("button", name=f"Pin version {refused.version}")).to_be_hidden()
            expect(shown.locator("#events")).to_contain_text(f"version {refused.version} refused: norm: 9 against 2")
            assert watched.grave() == []
        expect(shown.locator("#lost")).to_contain_text("no contact since", timeout=WAIT_MS)
        # Greyed figures are meant to be hard to take for fresh ones; what is to be read stands above them.
        assert [found for found in watched.grave() if not found.startswith("color-contrast")] == []


@pytest.mark.long
def test_two_dozen_replicas_stand_side_by_side(loop_of_many: Loop, browser: Browser) -> None:
    loop_of_many.apply_everywhere(loop_of_many.commit())
    with window(browser) as context, served(loop_of_many.pipeline) as page:
        watched = tab(context)
        shown = watched.page
        shown.goto(page.url)
        rows = shown.locator("#replicas .replica")
        expect(rows).to_have_count(24, timeout=WAIT_MS)
        box = shown.locator("#replicas").bounding_box()
        assert box is not None and box["height"] < 500
        expect(shown.locator("#versions tbody tr").first).to_contain_text("24 replicas")
        assert watched.grave() == [] and watched.complaints == []
