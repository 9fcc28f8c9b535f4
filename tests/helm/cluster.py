"""A Kubernetes API server with its database on this machine, for tests: it admits and stores, and runs nothing."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from infra.clock import SystemClock, new_secret
from infra.local.ports import HOST, free_ports
from infra.local.process import Process
from tests.helm.programs import api_server, etcd

READY_SECONDS = 120.0
CRD_SECONDS = 60.0
CRDS = Path(__file__).with_name("crds")


@dataclass
class Cluster:
    """Its address, and whoever asks there as its administrator.

    Attributes:
        kubeconfig: The file by which Helm finds it.
    """

    client: httpx.Client
    kubeconfig: Path

    def ask(self, method: str, path: str, body: Any = None, **parameters: str) -> httpx.Response:
        """One request; what it is answered is the caller's to judge."""
        apply = {"content-type": "application/apply-patch+yaml"} if method == "PATCH" else {}
        return self.client.request(method, path, json=body, params=parameters, headers=apply)

    def make(self, path: str, body: Any) -> Any:
        """Creates an object that must not be refused."""
        answer = self.ask("POST", path, body)
        assert answer.is_success, answer.text
        return answer.json()

    @cached_property
    def resources(self) -> dict[tuple[str, str], str]:
        """(apiVersion, kind) of what lies in namespaces -> where the API serves it, with ``{}`` for the namespace."""
        groups = [("v1", "/api/v1")]
        for group in self.ask("GET", "/apis").json()["groups"]:
            groups += [(each["groupVersion"], f"/apis/{each['groupVersion']}") for each in group["versions"]]
        found = {}
        for version, root in groups:
            for one in self.ask("GET", root).json()["resources"]:
                if one["namespaced"] and "/" not in one["name"] and "list" in one["verbs"]:
                    found[version, one["kind"]] = f"{root}/namespaces/{{}}/{one['name']}"
        return found

    def within(self, namespace: str) -> dict[tuple[str, str], Any]:
        """Everything that lies in the namespace: (kind, name) -> object."""
        found = {}
        for (version, kind), path in self.resources.items():
            if version != "events.k8s.io/v1" and kind != "Event":
                for one in self.ask("GET", path.format(namespace)).json()["items"]:
                    found[kind, one["metadata"]["name"]] = one
        return found

    def restricted_namespace(self, name: str) -> str:
        """A namespace that takes only pods of the restricted standard."""
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        self.make("/api/v1/namespaces", namespace)
        return name


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """The API server, with its files in ``folder`` and the kinds of the operators known to it."""
    client_port, peer_port, port = free_ports(3)
    token = new_secret()
    (folder / "tokens").write_text(f"{token},admin,admin,system:masters\n")
    key = folder / "accounts.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    store = f"http://{HOST}:{client_port}"
    peer = f"http://{HOST}:{peer_port}"
    database = [str(etcd()), f"--data-dir={folder / 'etcd'}", "--name=one", "--initial-cluster", f"one={peer}"]
    database += [f"--listen-client-urls={store}", f"--advertise-client-urls={store}"]
    database += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
    server = [
        str(api_server()),
        f"--etcd-servers={store}",
        f"--bind-address={HOST}",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certificates'}",
        f"--token-auth-file={folder / 'tokens'}",
        "--authorization-mode=RBAC",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.96.0.0/24",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        # Both leave a part of their work to controllers: making accounts, and letting go of claims that nobody uses.
        "--disable-admission-plugins=ServiceAccount,StorageObjectInUseProtection",
    ]
    processes = [
        Process("etcd", database, folder / "etcd.log", folder=folder),
        Process("kube-apiserver", server, folder / "api.log", folder=folder),
    ]
    # The server signs for itself, anew each time.
    client = httpx.Client(
        base_url=f"https://{HOST}:{port}",
        verify=False,
        trust_env=False,
        headers={"authorization": f"Bearer {token}"},
        timeout=60,
    )
    try:
        for process in processes:
            process.start()
        processes[1].wait_until_ready(lambda: _is_ready(client), READY_SECONDS)
        made = Cluster(client, _kubeconfig(folder, port, token))
        _teach(made)
        yield made
    finally:
        client.close()
        for process in reversed(processes):
            process.kill()


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").is_success
    except httpx.TransportError:
        return False


def _kubeconfig(folder: Path, port: int, token: str) -> Path:
    path = folder / "kubeconfig"
    server = {"server": f"https://{HOST}:{port}", "insecure-skip-tls-verify": True}
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "local",
                "clusters": [{"name": "local", "cluster": server}],
                "users": [{"name": "admin", "user": {"token": token}}],
                "contexts": [{"name": "local", "context": {"cluster": "local", "user": "admin"}}],
            }
        )
    )
    path.chmod(0o600)
    return path


def _teach(made: Cluster) -> None:
    """Tells the server the operators' kinds, from the schemas of the other tests, and waits until it serves them."""
    wanted = set()
    for path in sorted(CRDS.glob("*.json")):
        group, version, _ = path.stem.split("_")
        schema = _structural(json.loads(path.read_text("utf-8")))
        kind = schema.pop("$comment").partition(" ")[0]
        if kind == "FlinkDeployment":
            schema["properties"]["spec"]["properties"]["flinkVersion"]["enum"].append("v2_3")
        plural = f"{kind.lower()}s"
        names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
        served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
        about = {
            "name": f"{plural}.{group}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, a copy for tests"},
        }
        made.make(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": about,
                "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [served]},
            },
        )
        wanted.add(f"/apis/{group}/{version}/namespaces/default/{plural}")
    clock, deadline = SystemClock(), SystemClock().monotonic() + CRD_SECONDS
    while not all(made.ask("GET", path).is_success for path in wanted):
        assert clock.monotonic() < deadline, "the operators' kinds are not served"
        clock.sleep(0.2)


def _structural(schema: Any) -> Any:
    """Without what a CRD may not say; that unknown fields are refused, requests ask for themselves."""
    if isinstance(schema, dict) and schema.get("type") == ["integer", "string"]:
        return {"x-kubernetes-int-or-string": True}
    if isinstance(schema, dict):
        return {
            key: _structural(each) for key, each in schema.items() if (key, each) != ("additionalProperties", False)
        }
    return [_structural(each) for each in schema] if isinstance(schema, list) else schema
