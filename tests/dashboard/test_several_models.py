"""Several models on one page: each its own figures and decisions, and a way from one to the other."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from checkpointing.content import Content
from checkpointing.control import ControlLog
from checkpointing.writer import Writer
from infra.errors import Invalid
from infra.object_store import open_store
from infra.spec import Pipeline
from tests.asking import HTTP
from tests.dashboard.browsing import WAIT_MS, tab, window
from tests.dashboard.loop import CLOCK, Page, Process, pipeline_for, served

NAMES = ("books", "films")


def model(folder: Path, name: str, version: int, replica: Process) -> Pipeline:
    """One whose newest version is ``version``, served by one replica; its token is its name."""
    pipeline = pipeline_for(folder / name, name, token=f"of-{name}", replicas=[replica.url])
    writer = Writer.take_over(open_store(pipeline.store), name, "test", CLOCK)
    for _ in range(version - 1):
        writer.commit(Content(newest_known_ts=1, learned_through=1))
    return pipeline


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Pipeline]]:
    replicas = [Process("replica", {"name": f"{name}-0", "version": 2, "applied": []}) for name in NAMES]
    folder = tmp_path_factory.mktemp("models")
    yield [model(folder, name, number + 2, replicas[number]) for number, name in enumerate(NAMES)]
    for replica in replicas:
        replica.stop()


@pytest.fixture(scope="module")
def page(pipelines: list[Pipeline]) -> Iterator[Page]:
    with served(*pipelines) as running:
        yield running


def of(name: str, path: str) -> str:
    return f"{path}?model={name}"


def test_each_model_has_its_own_ticks_versions_and_metrics(page: Page) -> None:
    for number, name in enumerate(NAMES):
        committed = number + 2
        state = page.until(
            lambda s: s["storage"]["chain_versions"] == committed and s["replicas"][0]["up"],  # noqa: B023 - called at once
            model=name,
        )
        assert state["about"]["name"] == name and [r["name"] for r in state["replicas"]] == [f"{name}-0"]
        assert [each["name"] for each in state["models"]] == list(NAMES)
        versions = page.get(of(name, "/api/versions")).json()["versions"]
        assert versions[0]["version"] == committed
        assert f'replica="{name}-0"' in page.get(of(name, "/metrics")).text
        assert page.get(of(name, "/status")).json()["model"] == name
    assert page.get("/status").json()["model"] == NAMES[0]


def test_a_model_that_is_not_there_is_named_with_the_nearest(page: Page) -> None:
    for path in ("/", "/api/live", "/api/history", "/metrics"):
        reply = page.get(of("film", path))
        assert reply.status_code == 404 and reply.json()["error"] == "no model `film` here; nearest is `films`"


def test_a_decision_is_about_the_model_whose_token_it_knows(page: Page, pipelines: list[Pipeline]) -> None:
    wish = {"action": "pin", "version": 2, "who": "Ada", "why": "a test"}

    def decide(model: str, token: str) -> int:
        address, headers = f"{page.url}/api/decide?model={model}", {"Authorization": f"Bearer {token}"}
        return HTTP.post(address, json=wish, headers=headers, timeout=60).status_code

    assert decide("films", "of-books") == 401
    assert decide("films", "of-films") == 200
    entries: list[list[Any]] = [
        [entry.kind for entry in ControlLog(open_store(each.store), each.name).poll()] for each in pipelines
    ]
    assert entries == [[], ["pin"]]


def test_who_looks_goes_from_one_model_to_the_other(page: Page, browser: Browser) -> None:
    with window(browser) as context:
        watched = tab(context)
        shown = watched.page
        shown.goto(page.url)
        expect(shown.locator("#about")).to_contain_text("books", timeout=WAIT_MS)
        ways = shown.get_by_role("navigation", name="Models").get_by_role("link")
        expect(ways).to_have_count(2)
        expect(ways.first).to_have_attribute("aria-current", "page")
        assert watched.grave() == []
        ways.nth(1).click()
        expect(shown.locator("#about")).to_contain_text("films", timeout=WAIT_MS)
        expect(shown.locator("#replicas")).to_contain_text("films-0", timeout=WAIT_MS)
        expect(shown.locator("#versions tbody tr").first).to_contain_text("v3")
        assert watched.complaints == []


def test_one_model_alone_has_no_list_of_models(tmp_path: Path, browser: Browser) -> None:
    with served(pipeline_for(tmp_path, "alone")) as page, window(browser, width=390) as context:
        shown = tab(context).page
        shown.goto(page.url)
        expect(shown.locator("#about")).to_contain_text("alone", timeout=WAIT_MS)
        expect(shown.locator("#models")).to_be_hidden()


def test_two_models_that_would_share_a_name_or_a_file_are_refused(tmp_path: Path) -> None:
    one, same = pipeline_for(tmp_path, "one"), pipeline_for(tmp_path / "other", "one")
    with pytest.raises(Invalid, match="two pipelines are named `one`"), served(one, same):
        pass
    with pytest.raises(Invalid, match="keep their figures in one file"), served(one, pipeline_for(tmp_path, "two")):
        pass
