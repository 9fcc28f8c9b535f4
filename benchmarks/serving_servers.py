"""The servers that replicas are measured against and the replica itself, each a process of its own; measures nothing.

`python -m benchmarks.serving_servers KIND FOLDER PORT`: `replica` answers from the pipeline.json in the folder;
`stacked` is a stock SavedModel behind the replica's web application and uvicorn, which tiles what candidates share;
`direct` is the same behind connections that answer plain questions themselves, as the replica's do; `json` is one
behind Starlette and pydantic, which is FastAPI without what that does besides.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import httpx
import numpy as np
import orjson
import pydantic
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.asking import http
from benchmarks.serving_workload import FEATURES, NAMES, make_pipeline
from infra.clock import SystemClock
from infra.logs import configure
from infra.metrics import Metrics
from infra.object_store import open_store
from infra.spec import Pipeline
from serving.parts import Parts
from serving.prediction import Prediction, Question
from serving.run import run_replica
from serving.signature import Signature
from springtide.lifecycle import stop_on_signals
from springtide.wiring import build_encoder, build_tables

CLOCK: Final = SystemClock()
WITHIN_S: Final = 90.0
PIPELINE: Final = "pipeline.json"
MOST_BYTES: Final = 1 << 24


class StockPredictor:
    """A SavedModel that takes all ids as one input, asked as the replica's server asks."""

    version = 1

    def __init__(self, folder: Path) -> None:
        from serving.tensorflow_runtime import tf

        self._tf = tf
        self._model = tf.saved_model.load(str(folder))
        self._stacked = self._model.signatures["stacked"]
        self.signature = Signature.of(make_pipeline("memory://stock"))
        self(np.zeros((1, FEATURES), np.int64))

    def __call__(self, ids: Any) -> Any:
        return np.asarray(self._stacked(ids=self._tf.constant(ids))["click"])

    def check_model(self, _: str) -> None:
        """It has one."""

    def check_version(self, _: int | None) -> int:
        """It has one."""
        return self.version

    def predict(self, question: Question, _: int | None = None, __: int | None = None) -> Prediction:
        """Tiles what the candidates share, and asks the model."""
        ids = np.empty((question.rows, FEATURES), np.int64)
        for place, name in enumerate(NAMES):
            ids[:, place] = question.columns[name]
        return Prediction(self.version, self(ids))


Candidate = pydantic.create_model("Candidate", **cast("dict[str, Any]", dict.fromkeys(NAMES, (int, ...))))


class Body(pydantic.BaseModel):
    """A request as people write it: one object per candidate."""

    instances: list[Candidate]


def json_app(model: StockPredictor) -> Starlette:
    """What people write."""

    async def predict(request: Request) -> Response:
        body = Body.model_validate(await request.json())
        ids = np.array([[getattr(one, name) for name in NAMES] for one in body.instances], np.int64)
        return JSONResponse({"predictions": model(ids)[:, 0].tolist()})

    async def ready(_: Request) -> Response:
        return Response()

    return Starlette(routes=[Route("/predict", predict, methods=["POST"]), Route("/readyz", ready)])


def serve_stock(kind: str, folder: Path, port: int) -> None:
    """Answers until told to stop."""
    from serving.answering import Answering
    from serving.app import build_app
    from serving.beginning import settle_memory
    from serving.connection import Direct
    from serving.endpoints import Endpoints
    from serving.inference import Inference
    from serving.listening import listen
    from serving.plain_heads import PlainHeads
    from serving.server import Server
    from serving.shadow import Shadow
    from serving.tensorflow_runtime import set_threads

    set_threads(1)
    stop = stop_on_signals()
    model = StockPredictor(folder)
    direct = None
    if kind == "json":
        app = json_app(model)
    else:
        metrics = Metrics("replica", clock=CLOCK)
        answering = Answering(max_body=MOST_BYTES, metrics=metrics, clock=CLOCK)
        predictor = cast("Any", model)
        inference = Inference(predictor, Shadow(predictor, metrics))
        endpoints = Endpoints(predictor, answering, inference, lambda: None, "stock")
        app = build_app(endpoints, metrics=bytes, status=dict, not_ready=lambda: None)
        if kind == "direct":
            direct = Direct(PlainHeads(inference, MOST_BYTES), inference, answering)
    settle_memory()
    Server(app, CLOCK, stop, direct=direct).run(sockets=[listen("127.0.0.1", port)])


def serve_replica(folder: Path, port: int) -> None:
    """A replica as `springtide serve` runs it."""
    pipeline = Pipeline.model_validate(orjson.loads((folder / PIPELINE).read_bytes()))
    configure("serving", pipeline.name)
    parts = Parts(
        pipeline,
        "bench",
        encoder=partial(build_encoder, pipeline),
        tables=partial(build_tables, pipeline, max_batch=pipeline.serving.max_candidates, trainable=False),
        store=partial(open_store, pipeline.store),
        clock=CLOCK,
    )
    run_replica(parts, "127.0.0.1", port, stop_on_signals())


class Served:
    """A server that runs, and what it has spent."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self.port = port

    def predictors(self) -> list[int]:
        """The processes that answer."""
        found = [pid for pid, name in _descendants(self._process.pid) if name.startswith("predictor-")]
        return found or [self._process.pid]

    def cpu_s(self) -> float:
        """Processor seconds of the processes that answer."""
        return sum(
            int(file.read_text(encoding="ascii").split()[0]) / 1e9
            for pid in self.predictors()
            for file in Path(f"/proc/{pid}/task").glob("*/schedstat")
        )


@contextmanager
def served(kind: str, folder: Path, port: int) -> Iterator[Served]:
    """A server of that kind, ready; ended at the end."""
    command = [sys.executable, "-m", "benchmarks.serving_servers", kind, str(folder), str(port)]
    process = subprocess.Popen(command)
    try:
        deadline = CLOCK.monotonic() + WITHIN_S
        while not _ready(port):
            if process.poll() is not None or CLOCK.monotonic() > deadline:
                raise RuntimeError(f"the server {kind} is not ready")
            CLOCK.wait(threading.Event(), 0.1)
        yield Served(process, port)
    finally:
        process.terminate()
        process.wait()


def _ready(port: int) -> bool:
    try:
        return http().get(f"http://127.0.0.1:{port}/readyz").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _descendants(process: int) -> Iterator[tuple[int, str]]:
    for child in map(int, Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()):
        yield child, Path(f"/proc/{child}/comm").read_text(encoding="ascii").strip()
        yield from _descendants(child)


if __name__ == "__main__":
    which, where, at = sys.argv[1:]
    if which == "replica":
        serve_replica(Path(where), int(at))
    else:
        serve_stock(which, Path(where), int(at))
