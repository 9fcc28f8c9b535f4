"""Servers that answer every GET with the same JSON: what somebody else's program looks like at a known address."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Starts a server that answers with these bytes; its port on the loopback address.
Stranger = Callable[[bytes], int]


@contextlib.contextmanager
def strangers() -> Iterator[Stranger]:
    """Starts such servers until the end of the block."""
    with contextlib.ExitStack() as cleanup:

        def start(body: bytes) -> int:
            class Answer(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

                def log_message(self, *_: object) -> None:
                    pass

            server = cleanup.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Answer))
            thread = threading.Thread(target=server.serve_forever, name="stranger")
            thread.start()
            cleanup.callback(thread.join)
            cleanup.callback(server.shutdown)
            return server.server_port

        yield start
