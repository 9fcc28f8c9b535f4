"""One model on the page and what belongs to it alone; must not know HTTP or the other models."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from dashboard.decisions import Desk
from dashboard.door import Door
from dashboard.history import History
from dashboard.live import Live
from dashboard.sampler import Sampler
from infra.clock import Clock
from infra.errors import Invalid
from infra.metrics import Metrics
from infra.object_store import ObjectStore
from infra.secrets import read_secret
from infra.spec import Pipeline


@dataclass
class Shown:
    """One model.

    Attributes:
        pipeline: Its file.
        sampler: Makes its ticks.
        history: Its past figures.
        live: Passes its ticks on.
        door: Takes decisions about it.
        metrics: What `/metrics` shows of it.
        word: Its name and, after the first tick, the worst that is true of it, for the list of models.
    """

    pipeline: Pipeline
    sampler: Sampler
    history: History
    live: Live
    door: Door
    metrics: Metrics
    word: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, pipeline: Pipeline, store: ObjectStore, clock: Clock, period_s: float) -> Self:
        """Opens everything of one model.

        Raises:
            Invalid: The history file cannot be used, or the token is missing.
            Corrupt: The history file is damaged.
        """
        history = History(Path(pipeline.dashboard.history))
        metrics = Metrics("dashboard", clock=clock)
        secret = pipeline.dashboard.token
        desk = Desk(store, pipeline.name, clock, None if secret is None else read_secret(secret))
        sampler = Sampler(
            pipeline,
            store=store,
            history=history,
            clock=clock,
            metrics=metrics,
            period_s=period_s,
            may_decide=desk.open,
        )
        word = {"name": pipeline.name, "kind": "starting", "word": "starting"}
        return cls(pipeline, sampler, history, Live(), Door(desk), metrics, word)

    def note(self, sections: Mapping[str, Any]) -> None:
        """Takes what a tick says of the model as a whole."""
        status = sections["status"]
        self.word = {"name": self.pipeline.name, "kind": status["kind"], "word": status["word"]}


def words(models: Iterable[Shown]) -> list[dict[str, Any]]:
    """Name and state of each."""
    return [model.word for model in models]


def require_apart(pipelines: Sequence[Pipeline]) -> None:
    """Whether the models can stand on one page.

    Raises:
        Invalid: There is none, or two have one name or one history file.
    """
    if not pipelines:
        raise Invalid("no model to show", wanted="at least one pipeline.yaml")
    names: set[str] = set()
    files: dict[Path, str] = {}
    for pipeline in pipelines:
        if pipeline.name in names:
            raise Invalid(f"two pipelines are named `{pipeline.name}`", cure="a page shows each model once")
        names.add(pipeline.name)
        file = Path(pipeline.dashboard.history).resolve()
        if file in files:
            raise Invalid(
                f"`{files[file]}` and `{pipeline.name}` keep their figures in one file",
                cure="give each pipeline its own `dashboard.history`",
                where=str(file),
            )
        files[file] = pipeline.name
