"""Every alert in Prometheus' own evaluation: it fires in its trouble, and nothing fires in a healthy loop."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from dashboard.monitoring.alerts import Limits, alerts
from dashboard.monitoring.grafana import panels
from dashboard.monitoring.rules import PREFIX, rules
from infra.local import promtool as promtool_program

# Series are written every minute for an hour and a half; `_` is a sample that is missing. Rules are evaluated as often.
STEPS = 90
HEALTHY = {
    'springtide_not_learned_since_timestamp_seconds{model="m",replica="r0"}': f"0+60x{STEPS}",  # just received
    'springtide_learner_committed_timestamp_seconds{model="m"}': f"0+60x{STEPS}",
    'springtide_replica_stuck_since_timestamp_seconds{model="m",instance="r:1"}': f"0x{STEPS}",
    'springtide_probe_learned_timestamp_seconds{model="m"}': f"0+60x{STEPS}",
    'springtide_unavailable_total{model="m",dependency="store"}': f"3x{STEPS}",
    'springtide_join_job_running{model="m"}': f"1x{STEPS}",
    'springtide_join_watermark_timestamp_seconds{model="m"}': f"0+60x{STEPS}",
    'springtide_page_records_total{model="m",kind="feedback"}': f"0+600x{STEPS}",
    'springtide_join_feedback_held{model="m",input="click"}': f"0x{STEPS}",
    'springtide_learner_samples_total{model="m",kind="timeout"}': f"0+6000x{STEPS}",
    'springtide_learner_samples_total{model="m",kind="click"}': f"0+600x{STEPS}",
    'springtide_join_window_coverage_ratio{model="m",feedback="click"}': f"0.97x{STEPS}",
    'springtide_join_dead_letters_total{model="m",topic="clicks",reason="malformed"}': f"7x{STEPS}",
    'springtide_learner_calibration{model="m",label="click",slice=""}': f"1.01x{STEPS}",
    'springtide_learner_refused_total{model="m",reason="norm"}': f"2x{STEPS}",
    'springtide_learner_rejected_total{model="m",reason="unreadable"}': f"1x{STEPS}",
    'springtide_learner_held{model="m"}': f"0x{STEPS}",
    'springtide_store_puts_total{model="m"}': f"0+120x{STEPS}",  # two a second
    'springtide_store_written_bytes_total{model="m"}': f"0+6000000x{STEPS}",
    'springtide_store_chain_versions{model="m"}': f"900x{STEPS}",
    'springtide_disk_free_bytes{model="m",instance="r:1"}': f"500000000000x{STEPS}",
    'springtide_disk_size_bytes{model="m",instance="r:1"}': f"1000000000000x{STEPS}",
}


@dataclass(frozen=True)
class Trouble:
    """What is unlike a healthy loop, from the first sample on, and who is called.

    Args:
        series: Other values of some series; None takes it away.
        fires: Alerts, with labels that tell one from another.
    """

    series: dict[str, str | None]
    fires: tuple[str, ...]


def _of(metric: str) -> str:
    return next(name for name in HEALTHY if name.startswith(metric + "{"))


SINCE = _of("springtide_not_learned_since_timestamp_seconds")
CLICKS = 'springtide_learner_samples_total{model="m",kind="click"}'
TROUBLES = {
    "caught up is not behind": Trouble({SINCE: f"0x{STEPS}"}, ()),
    "a minute over the objective is not worth a call": Trouble({SINCE: f"0+60x{STEPS - 1} {60 * (STEPS - 2)}x1"}, ()),
    "behind for an hour": Trouble(
        {SINCE: f"0+60x{STEPS - 60} {60 * (STEPS - 60)}x60"},
        ("FreshnessBurnsFast", "FreshnessBurnsSlowly", "ReplicaBehind"),
    ),
    "behind in one minute of six": Trouble(
        {SINCE: " ".join("0x8 1" for _ in range(STEPS // 10 - 1)) + " 0x9"}, ("FreshnessBurnsSlowly",)
    ),
    "a learner that died": Trouble(
        {_of("springtide_learner_committed_timestamp_seconds"): f"0+60x{STEPS - 10} _x10"}, ("NoVersion",)
    ),
    "a replica that cannot apply": Trouble(
        {_of("springtide_replica_stuck_since_timestamp_seconds"): f"0x{STEPS - 5} {60 * (STEPS - 5)}x5"},
        ("ReplicaStuck",),
    ),
    "a canary whose probes are lost": Trouble(
        {_of("springtide_probe_learned_timestamp_seconds"): f"0+60x{STEPS - 8} {60 * (STEPS - 8)}x8"}, ("CanaryLost",)
    ),
    "a canary that died": Trouble(
        {_of("springtide_probe_learned_timestamp_seconds"): f"0+60x{STEPS - 8} _x8"}, ("CanaryLost",)
    ),
    "no canary": Trouble({_of("springtide_probe_learned_timestamp_seconds"): None}, ()),
    "a canary that was ended two hours ago": Trouble(
        {_of("springtide_probe_learned_timestamp_seconds"): f"0+60x{STEPS - 70} _x70"}, ()
    ),
    "a store that does not answer": Trouble(
        {_of("springtide_unavailable_total"): f"0+60x{STEPS}"}, ("DependencyUnavailable",)
    ),
    "a job that failed": Trouble({_of("springtide_join_job_running"): f"1x{STEPS - 5} 0x5"}, ("JoinNotRunning",)),
    "a watermark that stands still": Trouble(
        {_of("springtide_join_watermark_timestamp_seconds"): f"0+60x{STEPS - 10} {60 * (STEPS - 10)}x10"},
        ("WatermarkStalled",),
    ),
    "a watermark of a loop without traffic": Trouble(
        {
            _of("springtide_join_watermark_timestamp_seconds"): f"100x{STEPS}",
            _of("springtide_page_records_total"): f"100x{STEPS}",
        },
        (),
    ),
    "silent feedback": Trouble({_of("springtide_join_feedback_held"): f"0x{STEPS - 10} 1x10"}, ("FeedbackHeld",)),
    "no click any more": Trouble(
        {CLICKS: f"0+600x{STEPS - 30} {600 * (STEPS - 30)}x30"}, ("NegativesWithoutPositives",)
    ),
    "no click ever": Trouble({CLICKS: None}, ("NegativesWithoutPositives",)),
    "feedback that comes too late": Trouble(
        {_of("springtide_join_window_coverage_ratio"): f"0.6x{STEPS}"}, ("WindowTooShort",)
    ),
    "one more dead letter": Trouble(
        {_of("springtide_join_dead_letters_total"): f"7x{STEPS - 2} 8x2"}, ("DeadLetters",)
    ),
    "the first dead letter": Trouble(
        {_of("springtide_join_dead_letters_total"): f"_x{STEPS - 2} 1x2"}, ("DeadLetters",)
    ),
    "predictions a third too high": Trouble(
        {_of("springtide_learner_calibration"): f"1.33x{STEPS}"}, ("CalibrationOff",)
    ),
    "predictions half of what is seen": Trouble(
        {_of("springtide_learner_calibration"): f"0.5x{STEPS}"}, ("CalibrationOff",)
    ),
    "the first refused version": Trouble(
        {_of("springtide_learner_refused_total"): f"_x{STEPS - 2} 1x2"}, ("VersionsRefused",)
    ),
    "samples that cannot be read": Trouble(
        {_of("springtide_learner_rejected_total"): f"1x{STEPS - 2} 5x2"}, ("SamplesRejected",)
    ),
    "a pause that was forgotten": Trouble({_of("springtide_learner_held"): f"0x{STEPS - 75} 1x75"}, ("LearnerHeld",)),
    "a pause of ten minutes": Trouble({_of("springtide_learner_held"): f"0x{STEPS - 10} 1x10"}, ()),
    "ten puts a second": Trouble({_of("springtide_store_puts_total"): f"0+600x{STEPS}"}, ("StoreCost",)),
    "a hundred gigabytes an hour": Trouble(
        {_of("springtide_store_written_bytes_total"): f"0+1700000000x{STEPS}"}, ("StoreCost",)
    ),
    "no base for a day": Trouble({_of("springtide_store_chain_versions"): f"86400x{STEPS}"}, ("ChainLong",)),
    "a disk that is full": Trouble({_of("springtide_disk_free_bytes"): f"20000000000x{STEPS}"}, ("DiskFull",)),
    "a disk that will be": Trouble(
        {_of("springtide_disk_free_bytes"): f"500000000000-4000000000x{STEPS}"}, ("DiskFull",)
    ),
}


@pytest.fixture(scope="module")
def promtool() -> str:
    found = promtool_program.found()
    if found is None:
        pytest.skip(f"promtool not found; cure: {promtool_program.CURE}")
    return str(found)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rules") / "springtide.rules.yaml"
    path.write_text(rules(Limits()).replace("interval: 15s", "interval: 1m"), encoding="utf-8")
    return path


def test_prometheus_reads_the_rules(promtool: str, written: Path) -> None:
    checked = subprocess.run(
        [promtool, "check", "rules", "--lint=all", str(written)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_has_its_trouble() -> None:
    assert {name for trouble in TROUBLES.values() for name in trouble.fires} == {
        alert.name for alert in alerts(Limits())
    }


def test_every_alert_fires_in_its_trouble_alone(promtool: str, written: Path) -> None:
    """Each trouble is that of a model of its own, as in one Prometheus that watches many."""
    cases = {"a healthy loop": Trouble({}, ()), **TROUBLES}
    document = {
        "rule_files": [written.name],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": series.replace('model="m"', f'model="{name}"'), "values": values}
                    for name, trouble in cases.items()
                    for series, values in (HEALTHY | trouble.series).items()
                    if values
                ],
                "promql_expr_test": [
                    {
                        "expr": 'max by (model, alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": f"{STEPS - 1}m",
                        "exp_samples": [
                            {"labels": f'{{model="{name}",alertname="{PREFIX}{alert}"}}', "value": 1}
                            for name, trouble in cases.items()
                            for alert in trouble.fires
                        ],
                    }
                ],
            }
        ],
    }
    path = written.with_name("test.yaml")
    path.write_bytes(orjson.dumps(document))
    ran = subprocess.run([promtool, "test", "rules", str(path)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_summary_has_no_holes(promtool: str, written: Path) -> None:
    """Prometheus writes the summaries out where they differ from those expected, and `wrong` always does."""
    trouble = TROUBLES["behind for an hour"]
    series = [{"series": name, "values": values} for name, values in (HEALTHY | trouble.series).items() if values]
    wrong = [{"exp_labels": {}, "exp_annotations": {"summary": "wrong"}}]
    asked = [
        {"eval_time": f"{STEPS - 1}m", "alertname": f"{PREFIX}{name}", "exp_alerts": wrong} for name in trouble.fires
    ]
    document = {
        "rule_files": [written.name],
        "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": asked}],
    }
    path = written.with_name("summaries.yaml")
    path.write_bytes(orjson.dumps(document))
    ran = subprocess.run([promtool, "test", "rules", str(path)], capture_output=True, text=True, check=False)
    said = re.findall(r"summary=\"([^\"]+)\"", ran.stdout + ran.stderr)
    assert any("m has been more than 10 s behind for" in line for line in said), ran.stderr
    assert any("r0 of m is" in line for line in said)
    assert not any("no value" in line or "error" in line for line in said)


def test_prometheus_reads_the_expressions_of_grafana(promtool: str, written: Path) -> None:
    lines = [line for panel in panels() for line in panel.lines.values()]
    recorded = "\n".join(
        f"      - record: r:{place}\n        expr: {orjson.dumps(line.replace('$__rate_interval', '1m')).decode()}"
        for place, line in enumerate(lines)
    )
    path = written.with_name("panels.yaml")
    path.write_text(f"groups:\n  - name: g\n    rules:\n{recorded}\n", encoding="utf-8")
    checked = subprocess.run([promtool, "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
