"""Names, kinds, units, labels and buckets of every metric; code, documents, rules and pages are held to this table.

A time is exported as an absolute timestamp, so that a dead exporter ages instead of freezing; readers subtract.
Each room adds its rows here. The model's name is no label: Prometheus adds it per target.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]
Unit = Literal["seconds", "bytes", "timestamp_seconds", "info", "ratio", "1"]
Room = Literal["every", "join", "learner", "replica", "dashboard", "canary"]

PREFIX: Final = "springtide_"
# From a fused lookup to a slow commit; a stage of the road takes 0.1 to 1 s when all is well.
FAST: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
ROAD: Final = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)
DELAYS: Final = (0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 10800.0, 43200.0, 86400.0, 259200.0, 604800.0)
SIZES: Final = (1e3, 1e4, 1e5, 1e6, 4e6, 16e6, 64e6, 256e6, 1e9)
# Between two predictions, which are mostly probabilities.
DIFFERENCES: Final = (1e-6, 1e-5, 1e-4, 1e-3, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
ROWS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384)


@dataclass(frozen=True)
class Metric:
    """One metric. A counter's name ends in ``_total``, any other with its unit in ``_<unit>`` unless that is 1."""

    room: Room
    name: str
    kind: Kind
    unit: Unit
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


TABLE: Final[tuple[Metric, ...]] = (
    Metric("every", "springtide_build_info", "gauge", "info", "Always 1; which version runs.", ("version", "room")),
    Metric("every", "springtide_started_timestamp_seconds", "gauge", "timestamp_seconds", "When the process started."),
    Metric("every", "springtide_ready", "gauge", "1", "1 when the process is ready for its work."),
    Metric(
        "every",
        "springtide_unavailable_total",
        "counter",
        "1",
        "Calls to something outside that did not answer.",
        ("dependency",),
    ),
    Metric(
        "every", "springtide_disk_free_bytes", "gauge", "bytes", "Free space of the disk where the process was started."
    ),
    Metric("every", "springtide_disk_size_bytes", "gauge", "bytes", "Size of that disk."),
    # join
    Metric("join", "springtide_join_job_running", "gauge", "1", "1 while Flink reports the job as RUNNING."),
    Metric(
        "join",
        "springtide_join_watermark_timestamp_seconds",
        "gauge",
        "timestamp_seconds",
        "Event time up to which the join is complete.",
    ),
    Metric("join", "springtide_join_heartbeats_total", "counter", "1", "Heartbeats sent.", ("input",)),
    Metric(
        "join",
        "springtide_join_last_heartbeat_timestamp_seconds",
        "gauge",
        "timestamp_seconds",
        "When a heartbeat was last delivered.",
        ("input",),
    ),
    Metric(
        "join",
        "springtide_join_feedback_held",
        "gauge",
        "1",
        "1 while a kind of feedback is silent though impressions flow, and its negatives are held.",
        ("input",),
    ),
    Metric(
        "join",
        "springtide_join_late_total",
        "counter",
        "1",
        "Events that came late, twice or for nothing, since this process started.",
        ("feedback", "reason"),
    ),
    Metric(
        "join",
        "springtide_join_dead_letters_total",
        "counter",
        "1",
        "Messages that are no events, since this process started.",
        ("topic", "reason"),
    ),
    Metric(
        "join",
        "springtide_join_feedback_delay_seconds",
        "histogram",
        "seconds",
        "Event time from an impression to its feedback, of the samples looked at.",
        ("feedback",),
        DELAYS,
    ),
    Metric(
        "join",
        "springtide_join_window_coverage_ratio",
        "gauge",
        "ratio",
        "Share of the feedback that came inside its window, since this process started; orphans came outside.",
        ("feedback",),
    ),
    Metric("join", "springtide_join_restarts_total", "counter", "1", "Restarts of the Flink job."),
    Metric(
        "join",
        "springtide_join_checkpoint_timestamp_seconds",
        "gauge",
        "timestamp_seconds",
        "When Flink last completed a checkpoint.",
    ),
    # learner
    Metric("learner", "springtide_learner_samples_total", "counter", "1", "Samples trained.", ("kind",)),
    Metric("learner", "springtide_learner_duplicates_total", "counter", "1", "Samples dropped as trained already."),
    Metric("learner", "springtide_learner_rejected_total", "counter", "1", "Samples that cannot be read.", ("reason",)),
    Metric("learner", "springtide_learner_batch_samples", "histogram", "1", "Samples in a step.", (), ROWS),
    Metric(
        "learner",
        "springtide_learner_step_seconds",
        "histogram",
        "seconds",
        "Time of one step, by part.",
        ("part",),
        FAST,
    ),
    Metric("learner", "springtide_learner_pause_seconds", "histogram", "seconds", "Pause of a capture.", (), FAST),
    Metric("learner", "springtide_learner_commit_seconds", "histogram", "seconds", "Time of one commit.", (), ROAD),
    Metric("learner", "springtide_learner_commit_bytes", "histogram", "bytes", "Bytes of one commit.", (), SIZES),
    Metric("learner", "springtide_learner_commits_total", "counter", "1", "Commits.", ("kind",)),
    Metric(
        "learner",
        "springtide_learner_committed_timestamp_seconds",
        "gauge",
        "timestamp_seconds",
        "When the newest version was committed.",
    ),
    Metric(
        "learner",
        "springtide_learner_trained_timestamp_seconds",
        "gauge",
        "timestamp_seconds",
        "When the last step ended.",
    ),
    Metric(
        "learner",
        "springtide_learner_newest_known_timestamp_seconds",
        "gauge",
        "timestamp_seconds",
        "Newest known_ts trained.",
    ),
    Metric("learner", "springtide_learner_version", "gauge", "1", "Newest version committed."),
    Metric("learner", "springtide_learner_epoch", "gauge", "1", "Epoch under which this learner may commit."),
    Metric("learner", "springtide_learner_behind_records", "gauge", "1", "Samples on Kafka that are not trained yet."),
    Metric(
        "learner", "springtide_learner_refused_total", "counter", "1", "Versions that the gate refused.", ("reason",)
    ),
    Metric("learner", "springtide_learner_held", "gauge", "1", "1 while a decision keeps the learner from polling."),
    Metric("learner", "springtide_learner_reverts_total", "counter", "1", "Returns to an earlier version."),
    *(
        Metric(
            "learner", f"springtide_learner_{name}", "gauge", "1", f"{told}, newest closed bucket.", ("label", "slice")
        )
        for name, told in (
            ("log_loss", "Progressive log loss"),
            ("normalized_entropy", "Log loss over the entropy of the label's mean rate"),
            ("auc", "Progressive AUC"),
            ("calibration", "Sum of predictions over sum of labels"),
        )
    ),
    Metric("learner", "springtide_table_rows", "gauge", "1", "Rows held.", ("table",)),
    Metric("learner", "springtide_table_memory_bytes", "gauge", "bytes", "Memory of a table.", ("table",)),
    Metric(
        "learner",
        "springtide_table_admitted_total",
        "counter",
        "1",
        "Rows made since this process started.",
        ("table",),
    ),
    Metric(
        "learner",
        "springtide_table_evicted_total",
        "counter",
        "1",
        "Rows evicted or forgotten since this process started.",
        ("table",),
    ),
    Metric(
        "learner",
        "springtide_event_to_sample_seconds",
        "histogram",
        "seconds",
        "Receipt of the newest event to its sample, per sample.",
        (),
        ROAD,
    ),
    Metric(
        "learner",
        "springtide_sample_to_train_seconds",
        "histogram",
        "seconds",
        "Sample on Kafka to the end of its step.",
        (),
        ROAD,
    ),
    Metric(
        "learner",
        "springtide_train_to_commit_seconds",
        "histogram",
        "seconds",
        "End of the oldest step of a version to its commit.",
        (),
        ROAD,
    ),
    # replica
    Metric("replica", "springtide_replica_version", "gauge", "1", "Version that answers."),
    Metric(
        "replica",
        "springtide_replica_version_committed_timestamp_seconds",
        "gauge",
        "timestamp_seconds",
        "When the version that answers was committed.",
    ),
    Metric(
        "replica",
        "springtide_replica_applied_timestamp_seconds",
        "gauge",
        "timestamp_seconds",
        "When the version that answers was applied.",
    ),
    Metric(
        "replica",
        "springtide_replica_polled_timestamp_seconds",
        "gauge",
        "timestamp_seconds",
        "When the store was last asked for a newer version.",
    ),
    Metric(
        "replica",
        "springtide_commit_to_applied_seconds",
        "histogram",
        "seconds",
        "Commit of a version to its switch here.",
        (),
        ROAD,
    ),
    Metric("replica", "springtide_replica_applied_total", "counter", "1", "Versions applied.", ("kind",)),
    Metric("replica", "springtide_replica_corrupt_total", "counter", "1", "Versions refused as corrupt."),
    Metric(
        "replica",
        "springtide_replica_stuck_since_timestamp_seconds",
        "gauge",
        "timestamp_seconds",
        "Since when newer versions cannot be applied, for whatever reason; 0 while they can.",
    ),
    Metric(
        "replica",
        "springtide_replica_requests_total",
        "counter",
        "1",
        "Requests answered.",
        ("protocol", "code"),
    ),
    Metric(
        "replica",
        "springtide_replica_request_seconds",
        "histogram",
        "seconds",
        "Time of one request in the server.",
        ("protocol",),
        FAST,
    ),
    Metric("replica", "springtide_replica_candidates", "histogram", "1", "Candidates in a request.", (), ROWS),
    Metric(
        "replica", "springtide_replica_unknown_keys_total", "counter", "1", "Unique keys of a request without a row."
    ),
    Metric("replica", "springtide_replica_rows", "gauge", "1", "Rows held.", ("table",)),
    Metric("replica", "springtide_replica_memory_bytes", "gauge", "bytes", "Memory of the snapshots."),
    Metric(
        "replica",
        "springtide_replica_apply_seconds",
        "histogram",
        "seconds",
        "Time from a version's last byte read to its answering in every predictor.",
        (),
        FAST,
    ),
    Metric(
        "replica",
        "springtide_replica_shadow_difference",
        "histogram",
        "1",
        "Mean difference between a request's predictions and those of the version it was compared with.",
        (),
        DIFFERENCES,
    ),
    Metric(
        "replica",
        "springtide_replica_shadow_total",
        "counter",
        "1",
        "Requests to be compared with another version, by what became of it.",
        ("outcome",),
    ),
    Metric("replica", "springtide_replica_predictors", "gauge", "1", "Predictors that have all versions."),
    Metric(
        "replica",
        "springtide_replica_restarts_total",
        "counter",
        "1",
        "Processes of the replica that ended by themselves.",
        ("process",),
    ),
    Metric(
        "replica",
        "springtide_replica_private_bytes",
        "gauge",
        "bytes",
        "Memory that a process of the replica shares with no other.",
        ("process",),
    ),
    Metric(
        "replica",
        "springtide_replica_major_faults_total",
        "counter",
        "1",
        "Pages that a process of the replica had to wait for.",
        ("process",),
    ),
    # dashboard
    Metric(
        "dashboard",
        "springtide_not_learned_since_timestamp_seconds",
        "gauge",
        "timestamp_seconds",
        "Receipt of the oldest feedback not in the replica's version; 0 when caught up. `behind` is now minus this.",
        ("replica",),
    ),
    Metric(
        "dashboard",
        "springtide_page_records_total",
        "counter",
        "1",
        "Records that the page has read from Kafka: feedback, samples by kind, late rows by reason, dead letters.",
        ("kind",),
    ),
    Metric(
        "dashboard",
        "springtide_store_written_bytes_total",
        "counter",
        "bytes",
        "Bytes of the versions committed since the page began to look.",
    ),
    Metric(
        "dashboard",
        "springtide_store_puts_total",
        "counter",
        "1",
        "Objects put for the versions committed since the page began to look.",
    ),
    Metric("dashboard", "springtide_store_base_bytes", "gauge", "bytes", "Size of the newest base; 0 without any."),
    Metric("dashboard", "springtide_store_chain_bytes", "gauge", "bytes", "Size of the versions after that base."),
    Metric("dashboard", "springtide_store_chain_versions", "gauge", "1", "Versions after the newest base."),
    Metric("dashboard", "springtide_page_viewers", "gauge", "1", "Pages connected by server-sent events."),
    Metric(
        "dashboard",
        "springtide_page_scrapes_total",
        "counter",
        "1",
        "Readings of a process by the page.",
        ("target", "outcome"),
    ),
    # canary
    Metric("canary", "springtide_probes_total", "counter", "1", "Probes: learned everywhere, or lost.", ("outcome",)),
    Metric("canary", "springtide_probe_seconds", "histogram", "seconds", "From click to last replica.", buckets=ROAD),
    Metric(
        "canary",
        "springtide_probe_learned_timestamp_seconds",
        "gauge",
        "timestamp_seconds",
        "When every replica had last learned a probe; before the first, when the canary was started.",
    ),
)
