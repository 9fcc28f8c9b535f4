"""The process that plans and submits joins with PyFlink; must not know what the statements mean.

``python -m streaming.submit`` reads one :class:`Request` a line from its standard input and writes each answer as JSON
to the file that the request names; :class:`streaming.planner.Planner` is the other end. The statements hold secrets,
which therefore stand on no command line.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from streaming.flink_rest import root_cause

# What in Flink's words means that the cluster, not the statements, is the trouble.
_OUTSIDE: Final = (
    "Failed to submit JobGraph",
    "Connection refused",
    "ConnectException",
    "RestClientException",
    "RestHandlerException",
    "TimeoutException",
    "UnknownHostException",
)

# Flink took the job, and it ended before any of its tasks was deployed: no state could be read, say.
_NOT_STARTED: Final = "JobInitializationException"


@dataclass(frozen=True)
class Request:
    """One job to plan.

    Args:
        rest: The cluster's address; None to explain only.
        job_name: The job's name.
        definitions: CREATE statements.
        insert: The INSERT statement.
        settings: Flink's settings for the job.
        connector: The Kafka connector's jar.
        ship_connector: Whether the cluster is to be sent that jar.
        decoder: The jars by which the job reads events; the cluster is sent them.
        recover_from: Path of a checkpoint, or None.
        job_id: The job's id, or None.
        answer: The file for the result.
    """

    rest: str | None
    job_name: str
    definitions: tuple[str, ...]
    insert: str
    settings: dict[str, str]
    connector: str
    ship_connector: bool
    decoder: tuple[str, ...]
    recover_from: str | None
    job_id: str | None
    answer: str


def main() -> None:
    """The short-lived process: requests in, answers out."""
    for line in sys.stdin.buffer:
        values = json.loads(line)
        request = Request(**{**values, "definitions": tuple(values["definitions"])})
        path = Path(request.answer)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(_submitted(request)), encoding="utf-8")
        part.rename(path)


def _submitted(request: Request) -> dict[str, str]:
    try:
        from py4j.protocol import Py4JError
        from pyflink.util.exceptions import JavaException
    except ImportError as error:
        return {"kind": "invalid", "what": f"PyFlink is missing: {error}", "cure": "install springtide[streaming]"}
    try:
        environment = defined(request.definitions, _settings(request))
        if request.rest is None:
            return {"result": environment.explain_sql(request.insert)}
        job = environment.execute_sql(request.insert).get_job_client()
        return {"result": str(job.get_job_id())}
    except (JavaException, Py4JError) as error:
        return refusal(str(error))


def defined(definitions: Iterable[str], settings: Mapping[str, str]) -> Any:
    """PyFlink's table environment with ``settings``, after the CREATE statements.

    Raises:
        JavaException: Flink refuses a statement.
        Py4JError: The JVM has failed.
    """
    from pyflink.common import Configuration
    from pyflink.table import EnvironmentSettings, TableEnvironment

    configuration = Configuration()
    for key, value in settings.items():
        configuration.set_string(key, value)
    chosen = EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(configuration)
    environment = TableEnvironment.create(chosen.build())
    for definition in definitions:
        environment.execute_sql(definition)
    return environment


def _settings(request: Request) -> dict[str, str]:
    found = {**request.settings, "pipeline.name": request.job_name}
    if request.rest is None:
        return found
    address = urlsplit(request.rest)
    secure = address.scheme == "https"
    found |= {
        "execution.target": "remote",
        "execution.attached": "false",
        "rest.address": str(address.hostname),
        "rest.port": str(address.port or (443 if secure else 80)),
    }
    if secure:
        found["security.ssl.rest.enabled"] = "true"
    if address.path.strip("/"):
        found["rest.url-prefix"] = address.path
    shipped = [request.connector] * request.ship_connector + list(request.decoder)
    found["pipeline.jars"] = ";".join(Path(jar).as_uri() for jar in shipped)
    if request.job_id is not None:
        found["$internal.pipeline.job-id"] = request.job_id
    if request.recover_from is not None:
        found["execution.state-recovery.path"] = request.recover_from
    return found


def refusal(trace: str) -> dict[str, str]:
    """What the trouble is, without the statements: they hold secrets."""
    cause = root_cause(trace)
    if any(sign in trace for sign in _OUTSIDE):
        return {
            "kind": "unavailable",
            "what": f"flink does not take the join: {cause}",
            "cure": "look at the JobManager's log",
        }
    if _NOT_STARTED in trace:
        return {
            "kind": "not_started",
            "what": f"flink cannot start the join: {cause}",
            "cure": "look at the JobManager's log",
        }
    return {
        "kind": "bug",
        "what": f"flink refuses the generated SQL: {cause}",
        "cure": "report the pipeline's `events`",
    }


if __name__ == "__main__":
    main()
