"""SeaweedFS as the S3 server on this machine, with one bucket; must not know what is stored in it."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.clock import new_secret, new_uuid
from infra.errors import Invalid
from infra.local.ports import HOST, free_ports, require_free
from infra.local.process import READY_SECONDS
from infra.local.server_process import ServerProcess
from infra.object_store import open_store, provision_bucket
from infra.spec import Secret, Store

ACCESS_KEY = "springtide"
BUCKET = "springtide"
REGION = "us-east-1"
# It would take ten to twenty seconds to leave, waiting for its own connections; killed, it loses nothing that it has
# acknowledged (only a crash of the machine could do that).
GRACE_SECONDS = 2.0
PORTS = 8
SOCKETS = Path("/tmp")
PROOF_KEY = "local-stack/ready"
OPTIONS = (
    # Nothing leaves this machine: by default the master reports statistics to its makers.
    "-master.telemetry=false",
    # Alone, it waits this long for other masters before it leads again after a restart.
    "-master.electionTimeout=1s",
    # Volumes are files that grow; few large ones would be "full" for a second bucket or collection.
    "-master.volumeSizeLimitMB=1024",
    "-volume.max=100",
    # One server: nobody needs ten seconds to notice that it leaves.
    "-volume.preStopSeconds=0",
    # As a real S3 does: an upload to a missing bucket is an error.
    "-s3.autoCreateBucket=false",
    # Two more servers that nobody asked for, on fixed ports.
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-s3.iam=false",
)


class S3Server(ServerProcess):
    """An S3 server on this machine.

    Its data live as long as this object: `kill` and `start` bring back every object.

    Args:
        home: Folder of its own; its data and settings go there.
        logs: Folder for `s3.log`.
        ports: Eight ports: S3, master, volume and filer, then the gRPC port of each; None takes free ones.
        secret_key: None makes a fresh one.
        keep_data: Whether data of an earlier object in ``home`` are taken up; they need the same ports.
        keep_open: File descriptors to hand to the process.
        tls: A certificate for the loopback address and its key, PEM files; with them it answers HTTPS alone, and
            whoever asks must trust their authority (`SSL_CERT_FILE`), this process as well.
    """

    name = "s3"

    def __init__(
        self,
        home: Path,
        logs: Path,
        *,
        ports: Sequence[int] | None = None,
        secret_key: str | None = None,
        keep_data: bool = False,
        keep_open: Sequence[int] = (),
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self._tls = tls
        self.ports = list(ports if ports is not None else free_ports(PORTS))
        self.port = self.ports[0]
        self.endpoint = f"{'http' if tls is None else 'https'}://{HOST}:{self.port}"
        self.access_key = ACCESS_KEY
        self.secret_key = secret_key or new_secret()
        self.bucket = BUCKET
        self.region = REGION
        self._store = open_store(
            Store(
                url=f"s3://{self.bucket}",
                endpoint=self.endpoint,
                region=self.region,
                access_key=Secret(value=self.access_key),
                secret_key=Secret(value=self.secret_key),
            )
        )
        self._home = home.absolute()
        self._data = self._home / "data"
        self._identities = self._home / "identities.json"
        self._fresh = not (keep_data and self._data.is_dir())
        super().__init__(self._command(), self._home, logs, grace_seconds=GRACE_SECONDS, keep_open=keep_open)

    def launch(self) -> None:
        """Starts the server and returns before it answers."""
        for port in self.ports:
            require_free(port, self.name)
        if self._fresh:
            shutil.rmtree(self._home, ignore_errors=True)
            self._data.mkdir(parents=True)
            self._identities.write_text(json.dumps(self._identity()), encoding="utf-8")
            self._fresh = False
        self.process.start()

    def await_ready(self) -> None:
        """Returns when signed requests are answered: the bucket exists and an object can be written and read.

        Raises:
            Unavailable: The server ended, or did not answer within three minutes.
        """
        self.process.wait_until_ready(self._bucket_works, READY_SECONDS)

    def stop(self) -> None:
        super().stop()
        self._remove_sockets()

    def kill(self) -> None:
        super().kill()
        self._remove_sockets()

    def _remove_sockets(self) -> None:
        """The server leaves its Unix sockets in a folder that it does not let us choose."""
        for port in self.ports:
            for path in SOCKETS.glob(f"seaweedfs-*-{port}.sock"):
                path.unlink(missing_ok=True)

    def _bucket_works(self) -> bool:
        provision_bucket(self.endpoint, self.access_key, self.secret_key, self.bucket, self.region)
        # The gateway answers before a volume takes writes.
        proof = new_uuid().encode()
        self._store.put(PROOF_KEY, proof)
        return self._store.get(PROOF_KEY) == proof

    def _identity(self) -> object:
        credentials = [{"accessKey": self.access_key, "secretKey": self.secret_key}]
        return {"identities": [{"name": ACCESS_KEY, "credentials": credentials, "actions": ["Admin"]}]}

    def _command(self) -> list[str]:
        named = ["s3.port", "master.port", "volume.port", "filer.port"]
        named += [f"{name}.grpc" for name in named]
        return [
            weed_executable(),
            "-logtostderr=true",
            "server",
            f"-dir={self._data}",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
            "-s3",
            f"-s3.config={self._identities}",
            *(f"-{name}={port}" for name, port in zip(named, self.ports, strict=True)),
            *([] if self._tls is None else [f"-s3.cert.file={self._tls[0]}", f"-s3.key.file={self._tls[1]}"]),
            *OPTIONS,
        ]


def weed_executable() -> str:
    """The `weed` of the running Python's environment, else of PATH.

    Raises:
        Invalid: There is none.
    """
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if found is None:
        raise Invalid("`weed` (SeaweedFS) not found", cure="run `make setup`, or install springtide[demo]")
    return found
