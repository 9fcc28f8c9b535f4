"""Decisions over the page's API: who knows the token pins, promotes and resumes; everybody else is told why not."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from checkpointing.content import Content
from checkpointing.control import ControlLog
from checkpointing.manifest import Gate
from checkpointing.writer import Writer
from dashboard.door import MOST_WAITING, WRONG_TOKEN_S
from infra.object_store import ObjectStore, open_store
from infra.spec import Pipeline
from tests.asking import HTTP
from tests.dashboard.loop import CLOCK, TOKEN, Page, pipeline_for, served


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    """One whose page takes decisions."""
    return pipeline_for(tmp_path, "decided", token=TOKEN)


@pytest.fixture
def store(pipeline: Pipeline) -> ObjectStore:
    """Version 1 claims, version 2 may answer, the gate refused version 3."""
    store = open_store(pipeline.store)
    writer = Writer.take_over(store, pipeline.name, "test", CLOCK)
    writer.commit(Content(newest_known_ts=1, learned_through=1))
    writer.commit(Content(newest_known_ts=2, learned_through=2, gate=Gate(servable=False, reasons=("norm: 9",))))
    return store


@pytest.fixture
def page(pipeline: Pipeline, store: ObjectStore) -> Iterator[Page]:
    with served(pipeline) as running:
        yield running


def decide(page: Page, body: Any, token: str | None = TOKEN) -> httpx.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return HTTP.post(f"{page.url}/api/decide", json=body, headers=headers, timeout=60)


def wish(action: str, version: object = None) -> dict[str, Any]:
    return {"action": action, "version": version, "who": "Ada", "why": "a test"}


def test_a_pin_and_its_end_are_entered_in_the_log_with_who_and_why(
    page: Page, pipeline: Pipeline, store: ObjectStore
) -> None:
    assert decide(page, wish("promote", 3)).status_code == 200
    assert decide(page, wish("pin", 3)).status_code == 200
    state = page.until(lambda s: s["decisions"]["pin"])
    assert state["decisions"]["pin"]["version"] == 3 and state["decisions"]["promoted"] == [3]
    assert decide(page, wish("resume")).status_code == 200
    page.until(lambda s: not s["decisions"]["pin"])
    entries = ControlLog(store, pipeline.name).poll()
    assert [(e.kind, e.version, e.who, e.why) for e in entries][:2] == [
        ("promote", 3, "Ada", "a test"),
        ("pin", 3, "Ada", "a test"),
    ]
    assert [e.kind for e in entries] == ["promote", "pin", "unpin"]


@pytest.mark.parametrize("token", [None, "wrong", TOKEN + "x"])
def test_who_does_not_know_the_token_changes_nothing(
    page: Page, pipeline: Pipeline, store: ObjectStore, token: str | None
) -> None:
    reply = decide(page, wish("pin", 2), token)
    assert reply.status_code == 401 and "dashboard.token" in reply.json()["error"]
    assert ControlLog(store, pipeline.name).poll() == []


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (wish("pin", 3), 409, "gate refused version 3"),
        (wish("pin", 1), 409, "version 1 is a claim"),
        (wish("pin", 99), 409, "99"),
        (wish("pin", "2"), 400, "version is '2'"),
        (wish("pin", True), 400, "version is True"),
        (wish("pin"), 400, "version is None"),
        (wish("resume", 2), 400, "version is 2"),
        (wish("forget", 2), 400, "action is 'forget'"),
        ({"action": "pin", "version": 2}, 400, "who decides"),
        (wish("pin", 2) | {"why": "x" * 401}, 400, "who decides"),
        (wish("pin", 2) | {"why": "x" * 5000}, 400, "too long"),
        ([], 400, "no JSON object"),
    ],
)
def test_a_wish_that_cannot_be_obeyed_is_refused_with_its_reason(
    page: Page, pipeline: Pipeline, store: ObjectStore, body: Any, code: int, said: str
) -> None:
    reply = decide(page, body)
    assert reply.status_code == code and said in reply.json()["error"]
    assert ControlLog(store, pipeline.name).poll() == []


def test_guesses_take_their_turns_and_a_crowd_is_sent_away(page: Page) -> None:
    """Side by side they would be as many a second as there are connections; nor does it help to hang up at once."""
    began = time.monotonic()
    with ThreadPoolExecutor(MOST_WAITING + 4) as crowd:
        codes = list(
            crowd.map(lambda n: decide(page, wish("resume"), f"guess {n}").status_code, range(MOST_WAITING + 4))
        )
    heard = codes.count(401)
    assert 0 < heard <= MOST_WAITING and codes.count(429) == len(codes) - heard
    assert time.monotonic() - began >= heard * WRONG_TOKEN_S
    began = time.monotonic()
    with pytest.raises(httpx.ReadTimeout):
        HTTP.post(f"{page.url}/api/decide", headers={"Authorization": "Bearer x"}, timeout=0.2)
    assert decide(page, wish("resume")).status_code == 200
    assert time.monotonic() - began >= WRONG_TOKEN_S


def test_without_a_token_in_the_pipeline_nobody_decides(tmp_path: Path) -> None:
    with served(pipeline_for(tmp_path, "closed")) as page:
        reply = decide(page, wish("resume"))
        assert reply.status_code == 403 and "dashboard.token" in reply.json()["error"]
