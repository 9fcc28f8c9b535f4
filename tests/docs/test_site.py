"""Builds the site strictly, holds its reference pages to the code, and looks that no page asks another host."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from springtide.reference import generated
from tests.dashboard.browsing import launched, tab, window
from tests.docs.documents import ROOT

# What a browser fetches by itself: not links, which somebody must click.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=["']?(?P<a>[^"'\s>]+)|<link\b(?P<l>[^>]*)>"""
)
STYLE = re.compile(r"url\(\s*[\"']?(?P<u>[^\"')]+)|@import\s+[\"'](?P<i>[^\"']+)")
OUTSIDE = re.compile(r"^(https?:)?//")
HINTS = re.compile(r"rel=[\"']?(stylesheet|icon|preload|prefetch|preconnect|dns-prefetch|modulepreload|manifest)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", generated())
def test_the_reference_is_made_from_code(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == generated()[name], "run `make reference`"


def test_every_document_is_in_the_site(site: Path) -> None:
    pages = {str(path.relative_to(site).with_suffix("")) for path in site.rglob("*.html")}
    documents = {str(path.relative_to(ROOT / "docs").with_suffix("")) for path in ROOT.glob("docs/**/*.md")}
    assert documents <= pages
    assert "reference/format" in pages


def test_no_page_asks_another_host(site: Path) -> None:
    found = []
    for page in site.rglob("*.html"):
        for match in FETCHED.finditer(page.read_text(encoding="utf-8")):
            attributes = match["l"] or ""
            href = re.search(r"href=[\"']?([^\"'\s>]+)", attributes)
            target = match["a"] or (href.group(1) if href and HINTS.search(attributes) else "")
            if OUTSIDE.match(target):
                found.append(f"{page.name}: {target}")
    for sheet in site.rglob("*.css"):
        styles = STYLE.finditer(sheet.read_text(encoding="utf-8"))
        found += [f"{sheet.name}: {each.group()}" for each in styles if OUTSIDE.match(each["u"] or each["i"])]
    assert found == []


def test_the_search_finds_what_a_page_says(site: Path) -> None:
    index = (site / "search/search_index.json").read_text(encoding="utf-8")
    assert "forget" in index and "SpringtideChainLong" in index


class Silent(SimpleHTTPRequestHandler):
    """Serves files and writes no log."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_browser_asks_nobody_else_while_somebody_reads_and_searches(address: str, chromium: str) -> None:
    with launched(chromium) as browser, window(browser) as context:
        one = tab(context)
        for page in ("index.html", "tutorial.html", "reference/pipeline.html", "explanation/freshness.html"):
            one.page.goto(f"http://{address}/{page}")
        asked = one.page.locator("[data-md-component=search-query]")
        asked.fill("calibratio")
        asked.press("n")  # the page reads the question when a key is let go, not when a text is set
        one.page.locator(".md-search-result__item").first.wait_for(state="attached")
        assert one.asked == {address}
        assert one.complaints == []
