"""Pin, promote and resume by button in a real browser: what is asked, what is entered, what is said to who guesses."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from checkpointing.control import ControlLog
from tests.dashboard.browsing import WAIT_MS, tab, window
from tests.dashboard.loop import TOKEN, Loop, served


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with window(browser) as made:
        yield made


def send(shown: Page, token: str, *, why: str = "a test") -> None:
    """Fills the open dialog."""
    dialog = shown.get_by_role("dialog")
    dialog.get_by_label("Token").fill(token)
    dialog.get_by_label("Who").fill("Ada")
    dialog.get_by_label("Why").fill(why)
    dialog.locator("#decide-send").click()


def test_a_version_is_pinned_promoted_and_let_go_by_buttons(loop: Loop, context: BrowserContext) -> None:
    good = loop.commit()
    loop.apply_everywhere(good)
    refused = loop.commit(refused="norm: 9 against 2")
    watched = tab(context)
    shown = watched.page
    with served(loop.pipeline) as page:
        shown.goto(page.url)
        shown.get_by_role("button", name=f"Pin version {good.version}", exact=True).click(timeout=WAIT_MS)
        dialog = shown.get_by_role("dialog", name=f"Pin replicas to version {good.version}")
        expect(dialog.get_by_label("Version")).to_have_value(str(good.version))
        send(shown, "a guess")
        expect(dialog.get_by_role("alert")).to_contain_text("that is not the token", timeout=WAIT_MS)
        assert ControlLog(loop.store, loop.pipeline.name).poll() == []
        send(shown, TOKEN, why="calibration leapt")
        expect(dialog).to_be_hidden()
        expect(shown.locator("#decide-said")).to_have_text("Entered as decision 1. Replicas switch within a second.")
        banner = f"Replicas are pinned to version {good.version} by Ada since"
        expect(shown.locator("#holds")).to_contain_text(banner, timeout=WAIT_MS)
        expect(shown.locator("#holds")).to_contain_text("calibration leapt")
        expect(shown.get_by_role("button", name=f"Pin version {good.version}", exact=True)).to_be_disabled()
        expect(shown.locator("#events")).to_contain_text(f"Ada: pin version {good.version}, calibration leapt")

        shown.get_by_role("button", name=f"Promote version {refused.version}").click()
        expect(shown.get_by_role("dialog").get_by_label("Token")).to_have_value(TOKEN)  # asked for once
        send(shown, TOKEN)
        row = shown.locator("#versions tbody tr").first
        expect(row.locator(".verdict")).to_contain_text("promoted, though refused: norm: 9 against 2", timeout=WAIT_MS)
    with served(loop.pipeline, port=urlsplit(page.url).port or 0) as page:
        shown.goto(page.url)
        expect(shown.locator("#holds")).to_contain_text(banner, timeout=WAIT_MS)
        shown.get_by_role("button", name="Resume").click()
        expect(shown.get_by_role("dialog").get_by_label("Who")).to_have_value("Ada")
        expect(shown.get_by_role("dialog").get_by_label("Token")).to_have_value("")  # kept by no browser
        send(shown, TOKEN)
        expect(shown.locator("#holds")).not_to_contain_text("pinned", timeout=WAIT_MS)
        entries = ControlLog(loop.store, loop.pipeline.name).poll()
        assert [(e.kind, e.version, e.who) for e in entries] == [
            ("pin", good.version, "Ada"),
            ("promote", refused.version, "Ada"),
            ("unpin", None, "Ada"),
        ]
        shown.get_by_role("button", name="Pin another version").click()
        shown.get_by_role("dialog").get_by_label("Version").fill("99")
        send(shown, TOKEN)
        expect(shown.get_by_role("dialog").get_by_role("alert")).to_contain_text("99", timeout=WAIT_MS)
        shown.keyboard.press("Escape")
        expect(shown.get_by_role("dialog")).to_be_hidden()
    unexpected = [each for each in watched.complaints if "401" not in each and "409" not in each]
    assert unexpected == []


def test_without_a_token_the_page_names_the_commands_and_has_no_buttons(loop: Loop, context: BrowserContext) -> None:
    loop.apply_everywhere(loop.commit())
    settings = loop.pipeline.dashboard.model_copy(update={"token": None})
    with served(loop.pipeline.model_copy(update={"dashboard": settings})) as page:
        shown = tab(context).page
        shown.goto(page.url)
        expect(shown.locator("#holds")).to_contain_text("set dashboard.token", timeout=WAIT_MS)
        expect(shown.locator("#holds code").first).to_have_text("dashboard.token")
        expect(shown.locator("#versions tbody tr").first).to_contain_text("servable")
        assert shown.locator("#versions button").count() == 0


@pytest.mark.long
def test_rows_rest_under_the_pointer_so_that_the_button_meant_is_the_one_pressed(
    loop: Loop, context: BrowserContext
) -> None:
    first = loop.commit()
    with served(loop.pipeline) as page:
        shown = tab(context).page
        shown.goto(page.url)
        rows = shown.locator("#versions tbody tr")
        expect(rows.first).to_contain_text(f"v{first.version}", timeout=WAIT_MS)
        rows.first.hover()
        later = loop.commit()
        expect(shown.locator("#versions-note")).to_have_text(f"{later.version} so far", timeout=WAIT_MS)
        expect(rows.first).to_contain_text(f"v{first.version}")
        shown.mouse.move(5, 5)
        expect(rows.first).to_contain_text(f"v{later.version}", timeout=WAIT_MS)
