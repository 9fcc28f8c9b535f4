"""Finds the data set that a person named; knows which there are, not how each is read."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import difflib
from pathlib import Path

from infra.errors import Invalid
from infra.pipeline_file import load_pipeline
from springtide.datasets.event import Dataset
from springtide.datasets.mind import Mind
from springtide.datasets.movielens import MovieLens
from springtide.datasets.open_bandit import OpenBandit
from springtide.datasets.own import OwnLog

NAMES = ("movielens", "open-bandit", "mind")


def select_dataset(
    data: str, *, cache: Path, files: Path | None, impressions: Path | None, feedback: Path | None
) -> Dataset:
    """The data set called ``data``.

    Args:
        data: One of :data:`NAMES`, or the path of a pipeline.yaml that describes the user's own files.
        cache: Where downloads are kept.
        files: Folder of a log that Springtide may not ship.
        impressions: The user's impressions, JSON lines; only with a pipeline.yaml.
        feedback: The user's feedback, JSON lines; only with a pipeline.yaml.

    Raises:
        Invalid: No such data set, or a file that it needs is not named.
    """
    if data == "movielens":
        return MovieLens.load(cache)
    if data == "open-bandit":
        return OpenBandit.load(cache)
    if data == "mind":
        if files is None:
            raise Invalid("--data mind", wanted="--files FOLDER with behaviors.tsv", cure="name the folder of the log")
        return Mind.load(files)
    if not data.endswith((".yaml", ".yml")):
        nearest = difflib.get_close_matches(data, NAMES, 1)
        hint = f"; nearest is `{nearest[0]}`" if nearest else ""
        raise Invalid(
            f"--data {data}: unknown{hint}", wanted=f"{', '.join(NAMES)} or the path of a pipeline.yaml of your own"
        )
    if impressions is None or feedback is None:
        raise Invalid(f"--data {data}", wanted="--impressions FILE and --feedback FILE, JSON lines", cure="name both")
    pipeline = load_pipeline(Path(data))
    for topic in (pipeline.events.impressions, *pipeline.events.feedback):
        if topic.format != "json":
            raise Invalid(
                f"--data {data}: topic `{topic.topic}` has {topic.format} events, and the demo replays JSON lines",
                cure="leave `format` and what belongs to it out of a copy of the file",
            )
    return OwnLog(pipeline, impressions, feedback)
