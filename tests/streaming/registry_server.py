"""A schema registry small enough for a test: the parts of Confluent's REST protocol that Springtide asks; no client.

Long tests ask a real registry (`apicurio.py`); this one starts at once, and can be broken.
"""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote


class RegistryServer:
    """Schemas by subject, version and number, in memory.

    Args:
        login: `user:password` that is asked for, if any.
        folder: Where its certificate is made, for TLS; None speaks in the clear.
    """

    def __init__(self, login: str | None = None, folder: Path | None = None) -> None:
        self.login = login
        self.ca = _certificate(folder) if folder is not None else None
        self.broken = False
        self.asked: list[str] = []
        self.schemas: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked.append(self.path)
                self._answer(*outer.answer(self.path, self.headers.get("Authorization")))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                subject = unquote(self.path.split("/")[2])
                self._answer(200, {"id": outer.register(subject, **body)})

            def _answer(self, status: int, body: object) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if self.ca is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.ca, self.ca.with_suffix(".key"))
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if self.ca is not None else ''}://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def settings(self) -> dict[str, Any]:
        """What a pipeline says of it."""
        found: dict[str, Any] = {"url": self.url}
        if self.ca is not None:
            found["ca"] = str(self.ca)
        if self.login is not None:
            username, _, password = self.login.partition(":")
            found |= {"username": {"value": username}, "password": {"value": password}}
        return found

    def register(self, subject: str, schema: str, **more: Any) -> int:
        """The number of the new version; the same schema of another subject has one of its own here."""
        version = 1 + sum(each["subject"] == subject for each in self.schemas)
        number = 1 + len(self.schemas)
        self.schemas.append({"subject": subject, "version": version, "id": number, "schema": schema, **more})
        return number

    def answer(self, path: str, authorization: str | None) -> tuple[int, object]:
        if self.broken:
            return 503, {"error_code": 50301, "message": "broken on purpose"}
        if self.login is not None and authorization != f"Basic {base64.b64encode(self.login.encode()).decode()}":
            return 401, {"error_code": 40101, "message": "Unauthorized"}
        words = [unquote(word) for word in path.strip("/").split("/")]
        if words[:2] == ["schemas", "ids"]:
            found = [each for each in self.schemas if each["id"] == int(words[2])]
        else:
            found = [each for each in self.schemas if each["subject"] == words[1]]
            found = found[-1:] if words[3] == "latest" else [each for each in found if each["version"] == int(words[3])]
        return (200, found[0]) if found else (404, {"error_code": 40403, "message": "not found"})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _certificate(folder: Path) -> Path:
    """A certificate that vouches for itself, its key beside it."""
    path = folder / "registry.pem"
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2", "-subj", "/CN=registry"]
    command = ["openssl", "req", "-x509", "-nodes", *made, "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(path.with_suffix(".key")), "-out", str(path)]
    subprocess.run([*command, *files], check=True, capture_output=True, timeout=60)
    return path
