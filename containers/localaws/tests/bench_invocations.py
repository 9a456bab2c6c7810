"""How many invocations a second the front takes: ``python containers/localaws/tests/bench_invocations.py``."""

from __future__ import annotations

import http.client
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tiny_image
from standin import StandIn, make_config, wait_status

_REQUESTS = 2000
_SCOPE = "AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/sagemaker/aws4_request"
_HEADERS = {"Authorization": f"AWS4-HMAC-SHA256 Credential={_SCOPE}, x", "Content-Type": "application/json"}


def main() -> None:
    """Print requests a second, latencies and server CPU for some numbers of connections."""
    with tempfile.TemporaryDirectory() as folder:
        server = StandIn(Path(folder)).start()
        try:
            sagemaker = server.client("sagemaker")
            uri = tiny_image.push(server.client("ecr"), tiny_image.build(), "slipway/tiny", "v1")
            config = make_config(sagemaker, "c", {"main": (1.0, {})}, uri)
            sagemaker.create_endpoint(EndpointName="e", EndpointConfigName=config)
            wait_status(sagemaker, "e", "InService")
            for connections in (1, 4, 8):
                measure(server, connections)
        finally:
            server.stop()


def measure(server: StandIn, connections: int) -> None:
    """Drive the endpoint over this many connections and print one line."""
    latencies: list[float] = []

    def drive() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        for _ in range(_REQUESTS // connections):
            started = time.perf_counter()
            connection.request("POST", "/endpoints/e/invocations", b'{"a": [1, 2, 3]}', _HEADERS)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
            latencies.append(time.perf_counter() - started)

    assert server.process is not None
    cpu, started = _cpu_seconds(server.process.pid), time.perf_counter()
    threads = [threading.Thread(target=drive) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, spent = time.perf_counter() - started, _cpu_seconds(server.process.pid) - cpu
    cuts = statistics.quantiles(latencies, n=100)
    print(
        f"{connections} connections: {len(latencies) / seconds:.0f} requests/s, p50 {cuts[49] * 1e3:.2f} ms, "
        f"p99 {cuts[98] * 1e3:.2f} ms, {spent / len(latencies) * 1e3:.2f} ms of server CPU a request, "
        f"load average {os.getloadavg()[0]:.1f}"
    )


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
