"""Which states of a loop somebody should be called for, as Prometheus expressions; must not know how a rule is written.

Every expression keeps the label `model`, which Prometheus adds per target: one set of rules serves all models. A
counter that appears with its first count has no increase for Prometheus, so growth is asked for in both forms.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

# `page`: a person is needed now. `ticket`: within a day.
Severity = Literal["page", "ticket"]

BEHIND: Final = "springtide:behind_seconds"
OVER: Final = "springtide:over_objective"
# Share of the time that may be over the objective, and the burn rates of Google's SRE workbook, chapter 5.
BUDGET: Final = 0.01
FAST_BURN, SLOW_BURN = 14.4, 6.0
# Several probes of a canary that sends one a minute, each with a minute to come through.
CANARY_S: Final = 300.0


@dataclass(frozen=True)
class Limits:
    """What depends on the pipeline, or on what a team wants to pay.

    Args:
        behind_s: The freshness objective (`slo.behind`), seconds.
        heartbeat_s: How often a learner without samples commits (`learner.heartbeat_interval`), seconds.
        puts_per_hour: Objects put for versions.
        bytes_per_hour: Bytes put for versions.
        chain_versions: Versions that a start reads after its base.
    """

    behind_s: float = 10.0
    heartbeat_s: float = 10.0
    puts_per_hour: float = 20_000.0
    bytes_per_hour: float = 50e9
    chain_versions: int = 20_000


@dataclass(frozen=True)
class Alert:
    """One rule.

    Args:
        name: CamelCase, without the prefix.
        severity: How soon somebody is needed.
        expression: Gives a series per trouble.
        lasting: How long it must hold before anybody is called, such as ``5m``; empty: at once.
        summary: One line with Prometheus' template values.
        runbook: Name of the page in docs/runbooks, without its suffix.
    """

    name: str
    severity: Severity
    expression: str
    lasting: str
    summary: str
    runbook: str


def recordings(limits: Limits) -> dict[str, str]:
    """Named expressions that the alerts and Grafana share."""
    since = "springtide_not_learned_since_timestamp_seconds"
    return {
        BEHIND: f"max by (model, replica) ((time() - {since}) * ({since} > bool 0))",
        OVER: f"max by (model) ({BEHIND}) > bool {limits.behind_s:g}",
    }


def grown(metric: str, by: str, within: str) -> str:
    """Where a counter, summed by labels, went up, whether or not it was there before."""
    return f"sum by ({by}) (increase({metric}[{within}]) > 0 or ({metric} > 0 unless {metric} offset {within}))"


def alerts(limits: Limits) -> tuple[Alert, ...]:
    """Every alert, the ones about the headline first."""
    return (*_freshness(limits), *_join(), *_model(), *_costs(limits))


def _freshness(limits: Limits) -> tuple[Alert, ...]:
    silence = 3 * limits.heartbeat_s
    committed = "springtide_learner_committed_timestamp_seconds"
    stuck = "springtide_replica_stuck_since_timestamp_seconds"
    probed = "springtide_probe_learned_timestamp_seconds"
    objective = f"{limits.behind_s:g} s"
    return (
        Alert(
            "FreshnessBurnsFast",
            "page",
            _burn("1h", "5m", FAST_BURN),
            "",
            f"{{{{ $labels.model }}}} has been more than {objective} behind for {{{{ $value | humanizePercentage }}}} "
            "of the last hour",
            "freshness",
        ),
        Alert(
            "FreshnessBurnsSlowly",
            "ticket",
            _burn("6h", "30m", SLOW_BURN),
            "",
            f"{{{{ $labels.model }}}} has been more than {objective} behind for {{{{ $value | humanizePercentage }}}} "
            "of the last 6 h",
            "freshness",
        ),
        Alert(
            "NoVersion",
            "page",
            f"time() - max by (model) (max_over_time({committed}[1h])) > {silence:g}",
            "1m",
            "{{ $labels.model }} has had no version for {{ $value | humanizeDuration }}",
            "no-version",
        ),
        Alert(
            "ReplicaBehind",
            "ticket",
            f"{BEHIND} > {limits.behind_s:g}",
            "2m",
            "{{ $labels.replica }} of {{ $labels.model }} is {{ $value | humanizeDuration }} behind",
            "replica-behind",
        ),
        Alert(
            "ReplicaStuck",
            "page",
            f"(time() - {stuck}) * ({stuck} > bool 0) > 60",
            "",
            "{{ $labels.instance }} has not been able to apply newer versions for {{ $value | humanizeDuration }}",
            "replica-stuck",
        ),
        Alert(
            "CanaryLost",
            "page",
            f"time() - max by (model) (max_over_time({probed}[1h])) > {CANARY_S:g}",
            "1m",
            "No probe of {{ $labels.model }} has come through for {{ $value | humanizeDuration }}",
            "canary",
        ),
        Alert(
            "DependencyUnavailable",
            "ticket",
            "sum by (model, dependency) (rate(springtide_unavailable_total[5m])) > 0.1",
            "5m",
            "{{ $labels.dependency }} does not answer processes of {{ $labels.model }}",
            "unavailable",
        ),
    )


def _burn(long: str, short: str, rate: float) -> str:
    """Too much of the budget is gone, and still going: the short span ends the alert soon after the trouble."""
    return " and ".join(f"avg_over_time({OVER}[{span}]) > {rate * BUDGET:g}" for span in (long, short))


def _join() -> tuple[Alert, ...]:
    watermark = "springtide_join_watermark_timestamp_seconds"
    records = "springtide_page_records_total"
    samples = "springtide_learner_samples_total"
    return (
        Alert(
            "JoinNotRunning",
            "page",
            "max by (model) (springtide_join_job_running) == 0",
            "2m",
            "The join of {{ $labels.model }} is not running",
            "join-not-running",
        ),
        Alert(
            "WatermarkStalled",
            "page",
            f"max by (model) (changes({watermark}[5m])) == 0 "
            f'and on (model) sum by (model) (rate({records}{{kind="feedback"}}[5m])) > 0',
            "2m",
            "The watermark of {{ $labels.model }} stands still while feedback arrives: negatives do not come",
            "watermark-stalled",
        ),
        Alert(
            "FeedbackHeld",
            "page",
            "max by (model, input) (springtide_join_feedback_held) == 1",
            "5m",
            "No {{ $labels.input }} for {{ $labels.model }} though impressions flow: negatives are held",
            "feedback-held",
        ),
        Alert(
            "NegativesWithoutPositives",
            "page",
            f'sum by (model) (rate({samples}{{kind="timeout"}}[15m])) > 0.1 '
            f'unless on (model) sum by (model) (rate({samples}{{kind=~"click|correction"}}[15m])) > 0',
            "5m",
            "{{ $labels.model }} learns negatives only",
            "negatives-only",
        ),
        Alert(
            "WindowTooShort",
            "ticket",
            "min by (model, feedback) (springtide_join_window_coverage_ratio) < 0.8",
            "1h",
            "Only {{ $value | humanizePercentage }} of the {{ $labels.feedback }} of {{ $labels.model }} comes inside "
            "its window",
            "window",
        ),
        Alert(
            "DeadLetters",
            "ticket",
            grown("springtide_join_dead_letters_total", "model, topic, reason", "10m"),
            "",
            "Messages on {{ $labels.topic }} are no events: {{ $labels.reason }}",
            "dead-letters",
        ),
    )


def _model() -> tuple[Alert, ...]:
    calibration = 'springtide_learner_calibration{slice=""}'
    return (
        Alert(
            "CalibrationOff",
            "ticket",
            f"{calibration} > 1.25 or {calibration} < 0.8",
            "15m",
            "{{ $labels.label }} of {{ $labels.model }}: sum of predictions over sum of labels is "
            '{{ $value | printf "%.2f" }}',
            "calibration",
        ),
        Alert(
            "VersionsRefused",
            "page",
            grown("springtide_learner_refused_total", "model, reason", "10m"),
            "",
            "The gate refuses versions of {{ $labels.model }}: {{ $labels.reason }}",
            "versions-refused",
        ),
        Alert(
            "SamplesRejected",
            "ticket",
            grown("springtide_learner_rejected_total", "model, reason", "10m"),
            "",
            "The learner of {{ $labels.model }} cannot read samples: {{ $labels.reason }}",
            "samples-rejected",
        ),
        Alert(
            "LearnerHeld",
            "ticket",
            "max by (model) (springtide_learner_held) == 1",
            "1h",
            "A decision has kept {{ $labels.model }} from learning for an hour",
            "learner-held",
        ),
    )


def _costs(limits: Limits) -> tuple[Alert, ...]:
    free, size = "springtide_disk_free_bytes", "springtide_disk_size_bytes"
    chain = "springtide_store_chain_versions"
    return (
        Alert(
            "StoreCost",
            "ticket",
            f"sum by (model) (rate(springtide_store_puts_total[1h])) * 3600 > {limits.puts_per_hour:g} or "
            f"sum by (model) (rate(springtide_store_written_bytes_total[1h])) * 3600 > {limits.bytes_per_hour:g}",
            "30m",
            "{{ $labels.model }} writes more to the store than was planned: {{ $value | humanize }} an hour",
            "store-cost",
        ),
        Alert(
            "ChainLong",
            "ticket",
            f"max by (model) ({chain}) > {limits.chain_versions}",
            "10m",
            "A start of {{ $labels.model }} reads {{ $value }} versions: no base is made",
            "chain-long",
        ),
        Alert(
            "DiskFull",
            "page",
            f"{free} / {size} < 0.05 or (predict_linear({free}[1h], 4 * 3600) < 0 and {free} / {size} < 0.3)",
            "5m",
            "The disk of {{ $labels.instance }} is full, or will be within four hours",
            "disk",
        ),
    )
