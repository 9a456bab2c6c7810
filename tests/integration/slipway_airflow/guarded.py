"""A server that passes requests on to another one, for who has its user and password; others get a 401."""

from __future__ import annotations

import base64
import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@contextmanager
def guarded(url: str, user: str, password: str) -> Iterator[tuple[int, list[int]]]:
    """Yield the port on loopback, and the statuses that were answered so far."""
    wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    behind = urlsplit(url)
    answered: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Authorization") != wanted:
                return self._answer(401, "text/plain", b"You are not authenticated.")
            connection = http.client.HTTPConnection(str(behind.hostname), behind.port, timeout=60)
            passed = {name: value for name, value in self.headers.items() if name not in {"Authorization", "Host"}}
            connection.request(self.command, self.path, body, passed)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            return self._answer(answer.status, answer.headers.get("Content-Type", "text/plain"), content)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _pass_on  # noqa: N815  (the names are http.server's)

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            answered.append(status)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], answered
    finally:
        server.shutdown()
        server.server_close()
