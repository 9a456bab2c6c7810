"""The HTTP server: waitress, set up for large bodies and many small requests."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import waitress.server
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.task import WSGITask
from waitress.utilities import BadRequest

_GIB = 1024**3
_KIB = 1024
_TLS_HANDSHAKE = b"\x16"
_METADATA = re.compile(rb"^X-Amz-Meta-[^:]+", re.MULTILINE)


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    """Does not wait for what will not come.

    botocore sends ``Expect: 100-continue`` with every PutObject, an empty one included; waitress would answer that and
    then wait for bytes. Container tools try TLS first; waitress would wait for the end of those headers.
    """

    def received(self, data: bytes) -> int:
        if not self.header_plus and self.body_rcv is None and data[:1] == _TLS_HANDSHAKE:
            self.error = BadRequest("this port speaks plain HTTP")
            self.completed = True
            return len(data)
        consumed: int = super().received(data)
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        if not self.chunked and self.content_length == 0:
            self.expect_continue = False


class _Task(WSGITask):  # type: ignore[misc]
    """Leaves the names of user-defined metadata in lower case, as S3 sends them."""

    def build_response_header(self) -> bytes:
        head: bytes = super().build_response_header()
        return _METADATA.sub(lambda match: match[0].lower(), head) if b"\nX-Amz-Meta-" in head else head


def listen(application: Callable[..., Any], host: str, port: int, threads: int) -> Any:
    """Bind the address; ``run()`` of what is returned serves until somebody raises ``SystemExit`` in its thread.

    Args:
        application: the WSGI application.
        host, port: where.
        threads: requests answered at the same time.

    Raises:
        OSError: the address is taken.
    """
    HTTPChannel.parser_class = _Parser
    HTTPChannel.task_class = _Task
    return waitress.server.create_server(
        application,
        host=host,
        port=port,
        threads=threads,
        max_request_body_size=64 * _GIB,
        recv_bytes=256 * _KIB,
        inbuf_overflow=1024 * _KIB,
        outbuf_overflow=4096 * _KIB,
        channel_timeout=300,
        connection_limit=1000,
        ident=None,
        clear_untrusted_proxy_headers=False,
    )
