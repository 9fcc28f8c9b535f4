"""A click on an item changes the prediction of that item, in every replica, with the version that says so."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from functools import partial

import httpx
import orjson

from infra.clock import new_uuid
from infra.kafka import Producer
from springtide.datasets.replay import event_body
from springtide.probe import Prober
from tests.asking import HTTP
from tests.loop.conftest import RunningLoop, fields

CLICKS = 5


def predict(running: RunningLoop, address: str, features: dict[str, object]) -> tuple[float, int]:
    answer = HTTP.post(f"{address}/v1/models/{running.pipeline.name}:predict", json={"instances": [features]})
    assert answer.status_code == httpx.codes.OK, answer.text
    prediction = answer.json()["predictions"][0]
    score = prediction[0] if isinstance(prediction, list) else prediction
    return float(score), int(answer.headers["X-Springtide-Version"])


def scores_higher(running: RunningLoop, address: str, features: dict[str, object], than: float) -> bool:
    return predict(running, address, features)[0] > than + 1e-4


def test_a_click_changes_the_prediction_of_its_item(running: RunningLoop) -> None:
    item = {**fields(0, 0), "item": f"new-{new_uuid()}"}
    events = running.pipeline.events
    replicas = running.pipeline.dashboard.targets.replicas
    before = {address: predict(running, address, item) for address in replicas}

    with Producer(running.pipeline.kafka) as producer:
        for _ in range(CLICKS):
            key, now = new_uuid(), running.clock.now_ms()
            producer.send(events.impressions.topic, orjson.dumps(event_body(events.impressions, key, now, item)))
            producer.send(events.feedback[0].topic, orjson.dumps(event_body(events.feedback[0], key, now, {})))
    running.impressions += CLICKS
    running.clicks += CLICKS

    for address in replicas:
        higher = partial(scores_higher, running, address, item, before[address][0])
        running.until(higher, 20, f"a higher score at {address}")
        assert predict(running, address, item)[1] > before[address][1]
    # One of them may be a version ahead for a moment.
    running.until(lambda: len({predict(running, address, item) for address in replicas}) == 1, 20, "one answer of all")
    running.assert_nothing_lost()


def test_a_probe_is_timed_to_every_replica_and_moves_its_score(running: RunningLoop) -> None:
    with Prober(running.pipeline, running.store, running.clock) as prober:
        result = prober.probe(timeout=30, effect=True)

    assert result.sent_ms <= result.joined_ms <= result.trained_ms <= result.committed_ms
    assert set(result.applied_ms) == set(running.pipeline.dashboard.targets.replicas)
    assert all(moment >= result.committed_ms for moment in result.applied_ms.values())
    assert result.scores is not None
    assert result.scores[1] != result.scores[0]


def test_probes_one_after_the_other_are_each_found_in_a_version_of_their_own(running: RunningLoop) -> None:
    with Prober(running.pipeline, running.store, running.clock) as prober:
        versions = [result.version for result in prober.probes(4, timeout=30)]

    assert versions == sorted(set(versions))
