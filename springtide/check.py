"""What `springtide check` says of a pipeline.yaml; must not use a network."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from infra.pipeline_file import load_pipeline
from springtide.wiring import table_settings


def check_file(path: Path) -> str:
    """One line on a valid file.

    Raises:
        Invalid: With every error of the file, one a line.
    """
    pipeline = load_pipeline(path)
    table_settings(pipeline)
    topics = [pipeline.events.impressions.topic, *(feedback.topic for feedback in pipeline.events.feedback)]
    return (
        f"ok  {path}: model `{pipeline.name}` ({pipeline.model.name}), {' + '.join(topics)} "
        f"joined for {pipeline.join.window}, {len(pipeline.features)} features on {len(pipeline.tables)} tables, "
        f"a version every {pipeline.learner.commit_interval}"
    )
