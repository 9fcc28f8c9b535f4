"""The server without a loop behind it: API, headers, size, a port in use, and sources that do not answer."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import re
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from dashboard import assets
from infra.errors import Invalid
from tests.dashboard.loop import Page, Process, pipeline_for, served

VENDORED = assets.FOLDER / "VENDORED.md"
LIBRARY = "vendor/echarts.common.min.js"
LOAD_LIMIT_KIB = 300


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Nothing that it reads is there: no broker, an empty store, no process."""
    folder = tmp_path_factory.mktemp("page")
    with served(pipeline_for(folder, "nothing", learner="http://127.0.0.1:9")) as running:
        running.until(lambda state: "kafka" in state["status"]["why"])
        yield running


def test_what_cannot_be_read_is_said_and_no_figure_is_made_up(page: Page) -> None:
    state = page.until(lambda s: not s["learner"]["up"])
    assert state["headline"]["behind_ms"] is None and state["headline"]["version"] is None
    assert "kafka" in state["status"]["why"]
    assert page.get("/healthz").status_code == 200
    assert page.get("/readyz").json() == {"ready": True, "reason": None}
    assert page.get("/api/versions").json() == {"versions": []}
    assert page.get("/status").json()["role"] == "dashboard"
    past = page.get("/api/history").json()
    assert past["series"].keys() <= {"joined", "feedback"} and past["quality"] == []
    assert any(event["text"].startswith("cannot read kafka") for event in past["events"])


def test_a_process_that_talks_nonsense_changes_nothing(tmp_path: Path) -> None:
    odd = {"version": "seven", "applied": [None, {"version": 1}, {"applied_ts": "x", "version": 2}, 5], "ready": "yes"}
    replica = Process("replica", odd)
    learner = Process("learner", {"samples_total": 7, "duplicates_total": "many", "epoch": [1]})
    join = Process("join", {"job_state": None, "watermark_ms": "now"})
    replicas = [replica.url, "http://[bad"]
    with served(pipeline_for(tmp_path, "odd", replicas=replicas, learner=learner.url, join=join.url)) as page:
        state = page.until(lambda s: s["replicas"] and s["replicas"][0]["up"] and s["learner"]["up"])
        assert state["replicas"][0]["applied_ts"] is None and not state["replicas"][1]["up"]
        first = state["t"]
        assert page.until(lambda s: s["t"] > first)["headline"]["version"] is None
    for process in (replica, learner, join):
        process.stop()


def test_a_page_that_cannot_keep_its_figures_ends_instead_of_freezing(tmp_path: Path) -> None:
    pipeline = pipeline_for(tmp_path, "full")
    with pytest.raises(Invalid, match="history cannot be written"), served(pipeline) as page:
        page.until(lambda state: True)
        with contextlib.closing(sqlite3.connect(pipeline.dashboard.history)) as history:
            history.execute("DROP TABLE fine")
        with contextlib.suppress(httpx.HTTPError), contextlib.closing(page.ticks()) as stream:
            for _ in stream:  # until the server ends it
                pass


def test_every_exported_metric_can_be_read(page: Page) -> None:
    families = {family.name: family for family in text_string_to_metric_families(page.get("/metrics").text)}
    assert families["springtide_ready"].samples[0].value == 1
    scrapes = families["springtide_page_scrapes"].samples
    assert {s.labels["outcome"] for s in scrapes if s.labels.get("target") == "learner"} == {"failed"}


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "x", "1e9", "inf"])
def test_a_range_that_cannot_be_meant_is_refused(page: Page, minutes: str) -> None:
    reply = page.get(f"/api/history?minutes={minutes}")
    assert reply.status_code == 400 and "minutes" in reply.json()["error"]


@pytest.mark.parametrize("path", ["/nothing", "/static/../app.py", "/static/%2e%2e/app.py", "/static/VENDORED.md"])
def test_only_the_pages_own_files_are_served(page: Page, path: str) -> None:
    assert page.get(path).status_code == 404


def test_files_are_packed_guarded_and_kept_until_they_change(page: Page) -> None:
    reply = page.get("/")
    assert reply.headers["content-encoding"] == "gzip"
    assert reply.headers["x-content-type-options"] == "nosniff"
    again = page.get("/", **{"If-None-Match": reply.headers["etag"]})
    assert again.status_code == 304 and again.headers["content-security-policy"].startswith("default-src 'self'")
    plain = page.get("/", **{"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.text == reply.text
    assert page.get("/static/page.js").headers["content-type"].startswith("text/javascript")


def test_the_page_is_small_and_names_no_other_host() -> None:
    files = assets.load()
    assert sum(len(asset.packed) for asset in files.values()) / 1024 <= LOAD_LIMIT_KIB
    for name, asset in files.items():
        if not name.startswith("vendor/"):
            text = asset.plain.decode().replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?://|//[a-z0-9-]+\.[a-z]", text), name
            assert "style=" not in text, f"{name}: the content security policy drops inline styles"


def test_the_chart_library_is_the_one_that_is_written_down() -> None:
    digest = hashlib.sha384((assets.FOLDER / LIBRARY).read_bytes()).digest()
    integrity = f"sha384-{base64.b64encode(digest).decode()}"
    assert integrity in VENDORED.read_text(encoding="utf-8")
    assert f'integrity="{integrity}"' in (assets.FOLDER / assets.INDEX).read_text(encoding="utf-8")
    assert (assets.FOLDER / "vendor" / "echarts.LICENSE").is_file()
    assert gzip.decompress(assets.load()[LIBRARY].packed) == (assets.FOLDER / LIBRARY).read_bytes()


def test_a_port_in_use_is_invalid_and_says_the_cure(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(Invalid, match=rf"port {port} is in use.*Cure") as refused,
            served(pipeline_for(tmp_path, "twice"), port=port),
        ):
            pass
    assert refused.value.exit_code == 2
