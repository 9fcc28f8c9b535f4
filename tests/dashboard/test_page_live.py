"""The figures of the page, through real Kafka, a real store and real status servers, up to the live stream."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dashboard.shown import Shown
from infra.clock import iso
from tests.dashboard.loop import CLOCK, PERIOD_S, Loop, served


def test_a_click_is_followed_from_kafka_into_every_replica(loop: Loop) -> None:
    loop.apply_everywhere(loop.commit())
    with served(loop.pipeline) as page:
        state = page.until(lambda s: s["headline"]["behind_ms"] == 0)
        assert state["headline"]["idle"] and state["status"]["kind"] == "idle"
        assert state["about"]["feedback_topic"] == loop.pipeline.events.feedback[0].topic

        click = loop.click("k1")
        state = page.until(lambda s: s["headline"]["waiting_for"] == "join")
        assert state["headline"]["oldest_received_ts"] == click.received_ms
        assert abs(state["headline"]["behind_ms"] - (state["t"] - click.received_ms)) <= 1
        assert state["status"]["kind"] == "ok"

        loop.sample("k0", "timeout")
        loop.sample("k1", "click")
        page.until(lambda s: s["headline"]["waiting_for"] == "learner")
        manifest = loop.commit(oldest_received_ms=click.received_ms)
        state = page.until(lambda s: s["headline"]["waiting_for"] == "replica")
        assert state["minute"] | {"clicks": 1, "timeouts": 1, "feedback": 1} == state["minute"]

        applied = loop.apply(0, manifest)
        state = page.until(lambda s: s["replicas"][0]["version"] == manifest.version)
        assert state["replicas"][0]["oldest_received_ts"] is None
        assert state["replicas"][1]["oldest_received_ts"] == click.received_ms
        assert state["headline"]["oldest_received_ts"] == click.received_ms
        loop.apply(1, manifest)
        state = page.until(lambda s: s["headline"]["oldest_received_ts"] is None)

        waterfall = state["waterfall"]
        assert waterfall["version"] == manifest.version
        committed = manifest.timeline.committed_ts
        assert committed is not None
        if waterfall["replica"] == "replica-0":
            assert waterfall["stages_ms"] == [40, 20, committed - click.received_ms - 60, applied - committed]
        assert sum(waterfall["stages_ms"]) == waterfall["applied_ts"] - click.received_ms

        versions = page.get("/api/versions").json()["versions"]
        assert versions[0]["version"] == manifest.version
        assert versions[0]["served_by"] == ["replica-0", "replica-1"]
        assert versions[0]["servable"] and versions[0]["samples"] == 300
        text = page.get("/metrics").text
        assert 'springtide_not_learned_since_timestamp_seconds{replica="replica-0"} 0.0' in text


def test_versions_from_before_the_page_are_told_of_as_soon_as_they_are_read(loop: Loop) -> None:
    """Whoever asked for the table before that has no other way to them."""
    newest = loop.commit().version
    shown = Shown.of(loop.pipeline, loop.store, CLOCK, PERIOD_S)
    try:
        told: list[int] = []
        for _ in range(60):
            rows = shown.sampler.tick()["versions"]
            assert isinstance(rows, list)
            told += [row["version"] for row in rows]
            if newest in told:
                break
        assert told == list(range(1, newest + 1))
    finally:
        shown.sampler.close()


def test_orphans_repeats_and_dead_letters_do_not_keep_it_behind(loop: Loop) -> None:
    loop.apply_everywhere(loop.commit())
    with served(loop.pipeline) as page:
        page.until(lambda s: s["headline"]["behind_ms"] == 0)
        event_ms = CLOCK.now_ms()
        topic = loop.pipeline.events.feedback[0].topic
        loop._send(topic, "k1", {"id": "k1", "ts": iso(event_ms)})
        bad = loop._send(topic, "k2", {"id": "k2"})
        page.until(lambda s: s["headline"]["waiting_for_join"] == 2)
        loop.orphan("k1", event_ms)
        page.until(lambda s: s["headline"]["waiting_for_join"] == 1)
        body = {"reason": "no_time", "topic": topic, "partition": bad.partition, "offset": bad.offset}
        loop._send(f"springtide.{loop.pipeline.name}.dead", "k2", body)
        state = page.until(lambda s: s["headline"]["behind_ms"] == 0 and s["minute"]["dead"])
        assert state["minute"]["orphans"] == 1 and state["minute"]["dead"] == 1


def test_a_dead_replica_a_refused_version_and_a_take_over_are_noted(loop: Loop) -> None:
    loop.apply_everywhere(loop.commit())
    with served(loop.pipeline) as page:
        page.until(lambda s: s["headline"]["behind_ms"] == 0)
        loop.replicas[1].stop()
        state = page.until(lambda s: not s["replicas"][1]["up"])
        assert state["status"]["kind"] == "warn" and "replica-1 does not answer" in state["status"]["why"]
        loop.replicas[1].start()
        page.until(lambda s: s["replicas"][1]["up"])
        refused = loop.commit(refused="calibration 1.42")
        state = page.until(lambda s: "calibration 1.42" in s["status"]["why"])
        assert state["headline"]["version"] == refused.version - 1
        said = [event["text"] for event in page.get("/api/history?minutes=10").json()["events"]]
        assert "replica-1 does not answer" in said
        assert any(text.startswith("replica-1 answers again after") for text in said)
        assert f"version {refused.version} refused: calibration 1.42" in said


def test_a_restart_of_the_page_loses_nothing_visible(loop: Loop) -> None:
    loop.apply_everywhere(loop.commit())
    loop.apply_everywhere(loop.commit())
    with served(loop.pipeline) as page:
        click = loop.click("k1")
        seen = page.until(lambda s: s["headline"]["waiting_for"] == "join")["t"]
        page.until(lambda s: s["t"] > seen + 1_500)
        before = page.get("/api/history?minutes=5").json()
        quality = page.until(lambda s: True)["quality"]["overall"]
    with served(loop.pipeline) as page:
        state = page.until(lambda s: s["headline"]["waiting_for"] == "join")
        assert state["headline"]["oldest_received_ts"] == click.received_ms
        after = page.get("/api/history?minutes=5").json()
        assert state["quality"]["overall"] == quality
        kept = {before["start"] + 1000 * i: v for i, v in enumerate(before["series"]["behind"]["max"]) if v is not None}
        now = {after["start"] + 1000 * i: v for i, v in enumerate(after["series"]["behind"]["max"])}
        del kept[max(kept)]  # a later tick of the same second replaced it
        assert kept and all(now[t] == value for t, value in kept.items())
        assert after["quality"][: len(before["quality"])] == before["quality"]
        assert before["events"] == after["events"][: len(before["events"])]
