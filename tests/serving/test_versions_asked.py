"""Versions that a request names: those that are told, those that are wanted at least, and those to compare with."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from infra.clock import SystemClock
from tests.serving.conftest import Replica
from tests.serving.model import Model, make_columns

CLOCK = SystemClock()
PREDICT = "/v1/models/demo:predict"


@pytest.fixture
def kept(model: Model, replica: Replica) -> Iterator[Replica]:
    """A replica that has the versions 2, 3 and 4."""
    replica.switch._kept = 3
    for seed in range(3):
        model.commit(seed)
        replica.following.step()
    yield replica


def ask(replica: Replica, **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return replica.client.post(PREDICT, json={"inputs": make_columns(5)}, headers=names)


def test_all_that_can_be_asked_for_are_told(kept: Replica) -> None:
    assert kept.client.get("/v2/models/demo").json()["versions"] == ["4", "3", "2"]
    of_one = kept.client.get("/v1/models/demo/versions/3").json()["model_version_status"]
    assert [one["version"] for one in of_one] == ["3"]
    status = kept.client.get("/v1/models/demo").json()["model_version_status"]
    assert [one["version"] for one in status] == ["4", "3", "2"]


@pytest.mark.parametrize("header", ["X_Springtide_At_Least_Version", "X_Springtide_Shadow_Version"])
def test_a_header_that_is_no_version(kept: Replica, header: str) -> None:
    answer = ask(kept, **{header: "abc"})
    assert answer.status_code == 400
    assert header.replace("_", "-") in answer.json()["error"]


def test_none_as_new_as_asked_for(kept: Replica) -> None:
    answer = ask(kept, X_Springtide_At_Least_Version="5")
    assert answer.status_code == 503
    assert "pinned" in answer.json()["error"]
    assert ask(kept, X_Springtide_At_Least_Version="4").status_code == 200


def counted(replica: Replica, outcome: str, wanted: int) -> None:
    deadline = CLOCK.monotonic() + 20
    while replica.metrics.value("springtide_replica_shadow_total", outcome=outcome) < wanted:
        assert CLOCK.monotonic() < deadline
        CLOCK.sleep(0.01)


def test_answers_are_compared_with_another_version(kept: Replica) -> None:
    plain = ask(kept)
    for turn in range(3):
        answer = ask(kept, X_Springtide_Shadow_Version="2")
        assert (answer.json(), answer.headers["X-Springtide-Version"]) == (plain.json(), "4")
        counted(kept, "scored", turn + 1)
    page = kept.client.get("/metrics").text
    assert "springtide_replica_shadow_difference_count 3.0" in page
    (line,) = [line for line in page.splitlines() if line.startswith("springtide_replica_shadow_difference_sum")]
    assert float(line.split()[1]) > 0
    # It counts as no request, and what is not kept takes no answer away.
    assert "springtide_replica_candidates_count 4.0" in page
    assert ask(kept, X_Springtide_Shadow_Version="77").status_code == 200
    counted(kept, "not_kept", 1)
