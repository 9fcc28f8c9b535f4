"""The pods of a rendered release as processes on this machine, each with a root, an address and a user of its own.

What a kubelet and an image would do for them is done by mounts: a pod's root is this machine's, read-only, with the
pod's files over it where its manifest mounts them, and with what an image carries (Flink's folder, Kafka's jars) where
the chart looks for it. It runs as user 10001 of a namespace, without capabilities and without a way to gain any. All
pods share the loopback network, each by an address of its own; names of Services stand in its /etc/hosts. Linux, as
root.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from infra.local import jars
from infra.local.flink_cluster import flink_home
from infra.local.java import java_executable
from infra.local.process import Process
from tests.helm.conftest import NAMESPACE, Rendered

USER = 10001
EVERYWHERE = "0.0.0.0"
# Of an image: where programs are, and that text is UTF-8.
BINARIES = [str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]
INIT_SECONDS = 300
MEBIBYTE = 1 << 20
UNITS = {"Mi": MEBIBYTE, "Gi": 1 << 30}


@dataclass
class RunningPod:
    """One pod: what it is to be, where it is, and its process."""

    name: str
    role: str
    address: str
    spec: dict[str, Any]
    root: Path
    process: Process

    @property
    def container(self) -> dict[str, Any]:
        """Its only container."""
        (container,) = self.spec["containers"]
        found: dict[str, Any] = container
        return found

    def probes(self) -> dict[str, tuple[str, str, int]]:
        """Kind of probe -> how, path and port."""
        ports = {each["name"]: each["containerPort"] for each in self.container.get("ports", [])}
        found = {}
        for kind in ("startup", "liveness", "readiness"):
            probe = self.container.get(f"{kind}Probe")
            if probe is not None:
                how = "http" if "httpGet" in probe else "tcp"
                target = probe.get("httpGet") or probe["tcpSocket"]
                found[kind] = (how, target.get("path", ""), ports.get(target["port"], target["port"]))
        return found

    def memory_share(self) -> float:
        """What its processes hold, as a share of what its container may."""
        limit = re.fullmatch(r"(\d+)(Mi|Gi)", self.container["resources"]["limits"]["memory"])
        assert limit is not None
        held = 0
        for process in psutil.Process(self.process.leash_pid).children(recursive=True):
            # Proportional: libraries are mapped by many.
            held += process.memory_full_info().pss
        return held / (int(limit[1]) * UNITS[limit[2]])


class Machine:
    """Starts pods of one release.

    Args:
        release: What was rendered.
        folder: Everything that pods write, and their logs, go here.
        secrets: Secret -> key -> value, of those that are not among the rendered.
    """

    def __init__(self, release: Rendered, folder: Path, secrets: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self._folder = folder
        self._maps = {name: each["data"] for name, each in release.of("ConfigMap").items()}
        own = {name: each["stringData"] for name, each in release.of("Secret").items()}
        self._secrets: dict[str, Mapping[str, str]] = {**own, **(secrets or {})}
        self._services = release.of("Service")
        self._planned: list[tuple[str, str, dict[str, Any]]] = []
        for kind in ("StatefulSet", "Deployment"):
            for name, owner in release.of(kind).items():
                for number in range(owner["spec"].get("replicas", 1)):
                    self._planned.append((f"{name}-{number}", self._role(owner["spec"]["template"]), owner["spec"]))
        self._bare = release.of("Pod")
        self._addresses = {name: f"127.0.1.{10 + number}" for number, (name, _, _) in enumerate(self._planned)}
        self._labels = {name: spec["template"]["metadata"]["labels"] for name, _, spec in self._planned}
        self.pods: dict[str, RunningPod] = {}

    @staticmethod
    def _role(pod: Mapping[str, Any]) -> str:
        role: str = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        return role

    def start(self) -> None:
        """Starts every pod that has an owner, all at once, as a cluster does."""
        for name, role, spec in self._planned:
            pod = self._pod(name, role, spec["template"]["spec"], self._addresses[name])
            for number, container in enumerate(pod.spec.get("initContainers", [])):
                done = subprocess.run(
                    self._command(pod, container, f"init-{number}"),
                    capture_output=True,
                    text=True,
                    timeout=INIT_SECONDS,
                    check=False,
                )
                assert done.returncode == 0, done.stdout + done.stderr
            pod.process.start()
            self.pods[name] = pod

    def run(self, name: str, *instead: str, seconds: float) -> subprocess.CompletedProcess[str]:
        """Runs a bare pod to its end, as `helm test` has it done, with ``instead`` as its arguments where given."""
        spec = self._bare[name]["spec"]
        (container,) = spec["containers"]
        if instead:
            spec = spec | {"containers": [container | {"args": list(instead)}]}
        pod = self._pod(name, "test", spec, "127.0.1.9")
        return subprocess.run(pod.process.command, capture_output=True, text=True, timeout=seconds, check=False)

    def of(self, role: str) -> list[RunningPod]:
        """The pods of a role."""
        return [pod for pod in self.pods.values() if pod.role == role]

    def stop(self) -> None:
        """Kills what still runs."""
        for pod in self.pods.values():
            pod.process.signal_kill()
        for pod in self.pods.values():
            pod.process.kill()

    def _pod(self, name: str, role: str, spec: dict[str, Any], address: str) -> RunningPod:
        root = self._folder / name
        shutil.rmtree(root, ignore_errors=True)
        (root / "layer" / "etc").mkdir(parents=True)
        (root / "layer" / "etc" / "hosts").write_text(self._hosts(name, address))
        for volume in spec["volumes"]:
            place = root / "volumes" / volume["name"]
            place.mkdir(parents=True)
            for key, text in self._content(volume).items():
                # A pod's own network has one address besides the loopback; here that is the pod's.
                (place / key).write_text(text.replace(EVERYWHERE, address))
        (container,) = spec["containers"]
        pod = RunningPod(name, role, address, spec, root, Process(name, [], self._folder / "logs" / f"{name}.log"))
        pod.process.command = self._command(pod, container, "main")
        pod.process.grace_seconds = spec.get("terminationGracePeriodSeconds", 30)
        return pod

    def _content(self, volume: Mapping[str, Any]) -> Mapping[str, str]:
        if "configMap" in volume:
            found: Mapping[str, str] = self._maps[volume["configMap"]["name"]]
            return found
        return self._secrets[volume["secret"]["secretName"]] if "secret" in volume else {}

    def _hosts(self, name: str, address: str) -> str:
        lines = ["127.0.0.1 localhost", f"{address} {name}"]
        for service, one in self._services.items():
            names = [service, f"{service}.{NAMESPACE}", f"{service}.{NAMESPACE}.svc"]
            chosen = one["spec"]["selector"].items()
            lines += [
                f"{self._addresses[pod]} {' '.join(names)}"
                for pod, labels in self._labels.items()
                if chosen <= labels.items()
            ]
        return "\n".join(lines) + "\n"

    def _environment(self, pod: RunningPod, container: Mapping[str, Any]) -> dict[str, str]:
        found = {"PATH": ":".join([*BINARIES, str(Path(java_executable()).parent)]), "LANG": "C.UTF-8"}
        fields = {"metadata.name": pod.name, "metadata.namespace": NAMESPACE, "status.podIP": pod.address}
        for variable in container.get("env", []):
            source = variable.get("valueFrom", {})
            if "fieldRef" in source:
                found[variable["name"]] = fields[source["fieldRef"]["fieldPath"]]
            elif "secretKeyRef" in source:
                key = source["secretKeyRef"]
                found[variable["name"]] = self._secrets[key["name"]][key["key"]]
            else:
                found[variable["name"]] = str(variable["value"])
        return found

    def _command(self, pod: RunningPod, container: Mapping[str, Any], part: str) -> list[str]:
        """What starts the container: mounts in a namespace of its own, then its program without any right to more."""
        environment = self._environment(pod, container)
        words = [*container["command"], *container.get("args", [])]
        words = [re.sub(r"\$\(([A-Z_]+)\)", lambda found: environment[found[1]], word) for word in words]
        words = [word.replace(EVERYWHERE, pod.address) for word in words]
        mounts = [
            (pod.root / "volumes" / mount["name"], mount["mountPath"], mount.get("readOnly", False))
            for mount in container["volumeMounts"]
        ]
        script = pod.root / f"{part}.sh"
        script.write_text(_script(pod.root, part, mounts, words, environment, container.get("workingDir", "/")))
        return ["unshare", "--mount", "bash", str(script)]


def _script(
    root: Path,
    part: str,
    mounts: list[tuple[Path, str, bool]],
    words: list[str],
    environment: Mapping[str, str],
    folder: str,
) -> str:
    layer, place = root / "layer", root / f"{part}-root"
    new = place / "root"
    image = _image(layer)
    for _, path, _ in mounts:
        (layer / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
    for name in ("proc", "dev", "sys", "old"):
        (layer / name).mkdir(exist_ok=True)
    place.mkdir()
    lines = [
        "set -e",
        "mount --make-rprivate /",
        # A layer must not lie inside another one: this one is copied out of the machine's own files.
        f"mount -t tmpfs tmpfs {place}",
        f"cp -a {layer} {place}/layer && mkdir {new}",
        # Without a layer to write to, it is read-only.
        f"mount -t overlay overlay -o lowerdir={place}/layer:/ {new}",
        *(f"mount --rbind /{name} {new}/{name}" for name in ("proc", "dev", "sys")),
        *(f"mount --bind {source} {new}{path}" for source, path in image),
    ]
    for source, path, read_only in mounts:
        lines.append(f"mount --bind {source} {new}{path}")
        if read_only:
            lines.append(f"mount -o remount,bind,ro {new}{path}")
    lines += [f"cd {new}", "pivot_root . old", "umount -l /old", f"cd {shlex.quote(folder)}"]
    told = [f"{name}={value}" for name, value in environment.items()]
    jail = ["unshare", "--user", f"--map-user={USER}", f"--map-group={USER}", "setpriv", "--no-new-privs"]
    lines.append("exec " + shlex.join([*jail, "env", "-i", *told, *words]))
    return "\n".join(lines) + "\n"


def _image(layer: Path) -> list[tuple[Path, str]]:
    """What images carry where the chart looks for it: files in the layer, and what is mounted over it."""
    flink = layer / "opt" / "flink"
    if not flink.is_dir():
        for name in ("bin", "lib", "plugins/s3"):
            (flink / name).mkdir(parents=True)
        for jar in [*(flink_home() / "lib").glob("*.jar"), jars.flink_kafka_connector()]:
            (flink / "lib" / jar.name).symlink_to(jar)
        (flink / "plugins" / "s3" / jars.flink_s3_plugin().name).symlink_to(jars.flink_s3_plugin())
        (layer / "opt" / "kafka" / "libs").mkdir(parents=True)
    return [(flink_home() / "bin", "/opt/flink/bin"), (jars.JARS / "kafka", "/opt/kafka/libs")]
