"""Several labels and the delayed-feedback losses, once each through the whole loop: what replicas answer is right."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.clock import new_uuid
from infra.local.stack import LocalStack
from tests.asking import HTTP
from tests.loop.conftest import DOCUMENT, ITEMS, RunningLoop, fields, started

# Every third impression is clicked, whatever is shown to whom.
CLICKED = 1 / 3
SAMPLES = 4_000
PER_SECOND = 200


def answers(running: RunningLoop, address: str) -> list[Any]:
    """What a replica says of every item, to one user."""
    instances = [fields(1, item) for item in range(ITEMS)]
    answer = HTTP.post(f"{address}/v1/models/{running.pipeline.name}:predict", json={"instances": instances})
    assert answer.status_code == httpx.codes.OK, answer.text
    predictions: list[Any] = answer.json()["predictions"]
    return predictions


def learn(running: RunningLoop, samples: int = SAMPLES) -> None:
    """Traffic until the learner has trained enough, and every replica answers from a version after that."""
    address = running.loop.addresses["learner"]
    running.start_traffic(PER_SECOND)
    running.until(lambda: HTTP.get(f"{address}/status").json()["samples_total"] >= samples, 120, f"{samples} samples")
    running.stop_traffic()
    running.await_versions(1)
    trained = HTTP.get(f"{address}/status").json()["version"]
    for replica in running.pipeline.dashboard.targets.replicas:
        running.until(
            lambda at=replica: HTTP.get(f"{at}/status").json()["version"] >= trained,  # type: ignore[misc]
            30,
            f"version {trained} at {replica}",
        )


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("loss", "join"),
    [
        ({"kind": "fnw"}, {"labels": "immediate"}),
        ({"kind": "fnc"}, {"labels": "immediate"}),
        ({"kind": "es_dfm"}, {"labels": "aligned"}),
    ],
    ids=["fnw", "fnc", "es_dfm"],
)
def test_a_delayed_feedback_loss_serves_the_share_that_is_clicked(
    local_stack: LocalStack, tmp_path: Path, loss: dict[str, Any], join: dict[str, Any]
) -> None:
    document = DOCUMENT | {"model": DOCUMENT["model"] | {"loss": loss}}
    name = f"{loss['kind'].replace('_', '-')}-{new_uuid()[:8]}"
    with started(local_stack, tmp_path, document, name, join=join) as running:
        learn(running)
        for address in running.pipeline.dashboard.targets.replicas:
            scores = answers(running, address)
            # The stream of `immediate` shows 1/4: what is served must undo that.
            assert sum(scores) / len(scores) == pytest.approx(CLICKED, abs=0.05)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_two_labels_are_learned_and_answered_side_by_side(local_stack: LocalStack, tmp_path: Path) -> None:
    name = f"mmoe-{new_uuid()[:8]}"
    topic = {"key": "impression_id", "time": "ts"}
    feedback = [topic | {"name": "click", "topic": f"{name}.clicks"}, topic | {"name": "buy", "topic": f"{name}.buys"}]
    document = DOCUMENT | {
        "events": DOCUMENT["events"] | {"feedback": feedback},
        "model": {"name": "mmoe", "hidden": [16], "experts": 2, "tower": [8]},
    }
    with started(local_stack, tmp_path, document, name) as running:
        # Each impression is a sample for each label.
        learn(running, 2 * SAMPLES)
        for address in running.pipeline.dashboard.targets.replicas:
            scores = answers(running, address)
            clicks, buys = ([score[label] for score in scores] for label in ("click", "buy"))
            assert sum(clicks) / len(clicks) == pytest.approx(CLICKED, abs=0.06)
            # Nobody bought anything.
            assert max(buys) < 0.1
