"""A real browser, and what a tab in it complained of, asked for and fails in; must not know the page's content."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

# On two cores that other tests use, too, a browser may be kept waiting for long.
WAIT_MS = 45_000
GRAVE = {"serious", "critical"}
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def launched(chromium: str) -> Iterator[Browser]:
    """Debian's Chromium; while it runs, its thread can have no other event loop."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield found
        found.close()


@contextmanager
def window(browser: Browser, *, width: int = 1160, dark: bool = True) -> Iterator[BrowserContext]:
    """A window of its own memory."""
    made = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if dark else "light",
        locale="en-GB",
        has_touch=width < 500,
    )
    made.set_default_timeout(WAIT_MS)
    yield made
    made.close()


@dataclass
class Tab:
    """One page in a window.

    Args:
        page: Playwright's.
        complaints: Errors and warnings of its console, among others of the content security policy.
        asked: Whom it asked, as `host:port`.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)

    def grave(self) -> list[str]:
        """What axe-core finds serious or worse, each with its first element."""
        found: list[dict[str, Any]] = Axe().run(self.page).response["violations"]
        return [f"{rule['id']}: {rule['nodes'][0]['html']}" for rule in found if rule["impact"] in GRAVE]


def tab(context: BrowserContext) -> Tab:
    """An empty one."""
    made = Tab(context.new_page())
    made.page.on(
        "console",
        lambda message: made.complaints.append(message.text) if message.type in ("error", "warning") else None,
    )
    made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
    made.page.on("request", lambda request: made.asked.add(urlsplit(request.url).netloc))
    return made
