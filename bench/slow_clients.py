"""Slow clients: what 200 bodies that trickle in cost the others, with our server alone and with nginx in front of it.

python -m bench.slow_clients [--repeats 5] [--seconds 3] [--slow 200]
"""

from __future__ import annotations

import argparse
import getpass
import shutil
import socket
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.peers.model_servers import JSON, Launch, Slipway
from bench.report import ROOT, Row, publish
from bench.serving_setup import Running, free_port, make_environments, make_models, running, sample_rows, wrk

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log; worker_processes 1; user {user};
events {{ worker_connections 2048; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; client_max_body_size 25m;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream app {{ server 127.0.0.1:{inner}; keepalive 32; }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


class BehindNginx(Slipway):
    """Ours with nginx in front, which takes requests in whole before it passes them on."""

    name = "slipway behind nginx"

    def launch(self, model: Path, port: int, folder: Path) -> Launch:
        inner = super().launch(model, port + 1, folder)
        config = CONFIG.format(folder=folder, user=getpass.getuser(), port=port, inner=port + 1)
        (folder / "nginx.conf").write_text(config)
        script = folder / "both.py"
        script.write_text(
            "import signal, subprocess\n"
            f"parts = [subprocess.Popen({inner.command!r}), subprocess.Popen(['nginx', '-c', '{folder}/nginx.conf'])]\n"
            "signal.signal(signal.SIGTERM, lambda *_: [part.terminate() for part in parts])\n"
            "[part.wait() for part in parts]\n"
        )
        return Launch([sys.executable, str(script)], inner.environment)


@contextmanager
def trickling(port: int, body: bytes, clients: int) -> Iterator[None]:
    """Keep some clients sending one byte of a request every tenth of a second."""
    head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}\r\n\r\n"
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(clients)]
    for connection in connections:
        connection.sendall(head.encode())
    stop = threading.Event()

    def trickle() -> None:
        for byte in body:
            for connection in connections:
                with suppress(OSError):
                    connection.sendall(bytes([byte]))
            if stop.wait(0.1):
                return

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for connection in connections:
            connection.close()


def measure(server: Running, body: bytes, slow: int, seconds: float, folder: Path) -> list[Row]:
    """Measure eight quick clients beside the slow ones."""
    with trickling(server.port, body, slow):
        time.sleep(0.5)
        load = wrk(server.url, body, JSON, 8, seconds, folder)
    case, name = f"{slow} slow clients", server.system.name
    values = {("requests a second", "1/s"): load.per_second, ("p50", "ms"): load.p50_ms, ("p99", "ms"): load.p99_ms}
    return [Row(case, name, metric, value, unit) for (metric, unit), value in values.items()]


def main() -> None:
    """Run the benchmark and publish it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--slow", type=int, default=200)
    options = parser.parse_args()
    missing = [tool for tool in ("wrk", "nginx") if shutil.which(tool) is None]
    if missing:
        parser.error(f"not installed: {', '.join(missing)}")
    folder, environments = ROOT / "var" / "bench" / "serving", ROOT / "var" / "bench" / "env"
    make_environments(environments, {"slipway", "mlflow"})
    make_models(folder / "models", environments, spark=False)
    model = folder / "models" / "linear"
    columns, sample = sample_rows(model, 1)
    rows: list[Row] = []
    with ExitStack() as stack:
        servers = []
        for kind in (Slipway, BehindNginx):
            system = kind(environments, 1)
            place = folder / "slow" / system.name.replace(" ", "-")
            servers.append(stack.enter_context(running(system, model, free_port(), place)))
        for _ in range(options.repeats):
            for slow in (0, options.slow):
                for server in servers:
                    body = server.system.body(sample, columns, JSON)
                    rows += measure(server, body, slow, options.seconds, folder / "load")
    publish("slow_clients", rows, notes=["Each slow client sends one byte of its request every 0.1 s."])


if __name__ == "__main__":
    main()
