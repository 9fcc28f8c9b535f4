"""Secrets are named in manifests and never stand in them; each is mounted where the pipeline says it is."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

import helm_python

from tests.helm.conftest import Rendered, render, values_of

ROOM = "/etc/springtide/secrets"


def secrets_at(pod: dict[str, Any]) -> dict[str, str]:
    """Mount path -> Secret of one pod."""
    volumes = {volume["name"]: volume.get("secret", {}).get("secretName") for volume in pod["spec"]["volumes"]}
    mounts = [mount for container in pod["spec"]["containers"] for mount in container["volumeMounts"]]
    return {mount["mountPath"]: volumes[mount["name"]] for mount in mounts if volumes[mount["name"]]}


def test_no_manifest_is_a_secret(rendered: Rendered) -> None:
    # What whoever reads the chart knows is none.
    assert all(secret["stringData"]["secret_key"] == "development" for secret in rendered.of("Secret").values())
    assert not re.search(
        r"(?i)(password|secret[-_.]key|access[-_.]key)\W+[\"']?[A-Za-z0-9]{6,}[\"']?\s*$", rendered.text
    )


def test_every_file_that_the_pipeline_names_is_mounted(chart: helm_python.Chart) -> None:
    release = render(chart, values_of("secured"))
    named = {PurePosixPath(path) for path in re.findall(rf"{ROOM}/[a-z0-9-]+/[A-Za-z0-9_.-]+", release.pipeline())}
    assert len(named) == 6
    for role in ("join", "learner", "replicas", "page", "compactor", "test-doctor"):
        pod = release.pods()[f"demo-springtide-{role}"]
        assert secrets_at(pod) == {
            f"{ROOM}/kafka": "kafka-login",
            f"{ROOM}/kafka-tls": "kafka-certificates",
            f"{ROOM}/registry": "registry-login",
            f"{ROOM}/s3": "store-keys",
        }
        assert {str(path.parent) for path in named} <= secrets_at(pod).keys()


def keys_of_flink(release: Rendered) -> list[dict[str, Any]]:
    pods = [pod for name, pod in release.pods().items() if "-flink-" in name]
    assert len(pods) == 2
    found = [
        {
            variable["name"]: variable.get("valueFrom", {}).get("secretKeyRef")
            for variable in pod["spec"]["containers"][0]["env"]
        }
        for pod in pods
    ]
    return [{name: key for name, key in each.items() if name.startswith("AWS_")} for each in found]


def test_flink_gets_the_keys_of_the_pipelines_store(chart: helm_python.Chart) -> None:
    for found in keys_of_flink(render(chart, values_of("secured"))):
        assert found == {
            "AWS_ACCESS_KEY_ID": {"name": "store-keys", "key": "access_key"},
            "AWS_SECRET_ACCESS_KEY": {"name": "store-keys", "key": "secret_key"},
        }
    for found in keys_of_flink(render(chart, values_of("keys-from-environment"))):
        assert found == {
            "AWS_ACCESS_KEY_ID": {"name": "store-keys", "key": "id"},
            "AWS_SECRET_ACCESS_KEY": {"name": "store-keys", "key": "secret"},
        }
    assert keys_of_flink(render(chart, values_of("minimal"))) == [{}, {}]
