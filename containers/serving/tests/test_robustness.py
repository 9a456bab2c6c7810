"""Fuzz, overload, time-outs, slow clients and dying workers: no 5xx of ours, no hang, no harm to others."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import models
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_process import JSON, RunningServer, serving, wait_healthy

QUIET = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ROW = {"dataframe_split": {"columns": ["c0", "c1", "c2", "c3"], "data": [[0.1, 0.2, 0.3, 0.4]]}}
SLEEP_ROW = {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}}
ENDLESS_ROW = {"dataframe_split": {"columns": ["a", "b"], "data": [[1e6, 2]]}}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("compiled")
    model = models.save_linear(folder / "model")
    assert models.compile_model(model)["engine"] == "native"
    with serving(model, folder) as server:
        yield server


@pytest.fixture(params=["pyfunc", "native"])
def server(request: pytest.FixtureRequest) -> RunningServer:
    return request.getfixturevalue("linear_server" if request.param == "pyfunc" else "compiled")


MEDIA = st.one_of(
    st.sampled_from(
        [JSON, "text/csv", "application/jsonlines", "application/vnd.apache.parquet", "application/json; charset=utf-8"]
    ),
    st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
)
JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)),
    max_leaves=12,
)
FORMS = st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs", "params", "messages", "x"])


def assert_survives(server: RunningServer, body: bytes, media: str, accept: str = "*/*") -> None:
    answer = server.invoke(body, media.strip() or JSON, accept=accept)
    assert answer.status_code < 500, answer.text
    assert answer.status_code == 200 or answer.json()["message"]


@given(body=st.binary(max_size=200), media=MEDIA, accept=st.sampled_from(["*/*", JSON, "application/jsonlines", "x"]))
@QUIET
def test_any_bytes(server: RunningServer, body: bytes, media: str, accept: str):
    assert_survives(server, body, media, accept)


@given(document=st.dictionaries(FORMS, JSON_VALUES, max_size=3))
@QUIET
def test_any_json(server: RunningServer, document: dict[str, Any]):
    assert_survives(server, json.dumps(document).encode(), JSON)


@given(
    data=st.lists(st.lists(JSON_VALUES, max_size=5), max_size=3),
    columns=st.lists(st.sampled_from(["c0", "c1", "c2", "c3", "x"]), max_size=5),
)
@QUIET
def test_any_split(server: RunningServer, data: list[Any], columns: list[str]):
    assert_survives(server, json.dumps({"dataframe_split": {"columns": columns, "data": data}}).encode(), JSON)


@given(cut=st.integers(0, 120), flip=st.integers(0, 119), value=st.integers(0, 255))
@QUIET
def test_damaged_requests(server: RunningServer, cut: int, flip: int, value: int):
    body = bytearray(json.dumps(ROW).encode())
    body[flip % len(body)] = value
    assert_survives(server, bytes(body[: cut or None]), JSON)


@given(noise=st.binary(min_size=1, max_size=300))
@QUIET
def test_bytes_that_are_no_http(server: RunningServer, noise: bytes):
    port = int(server.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(noise + b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    assert server.get("/ping").status_code == 200


HEADERS = [
    b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nshort",
    b"GET /ping HTTP/1.1\r\nHost: x\r\n" + b"A: " + b"x" * 100_000 + b"\r\n\r\n",
    b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
]


@pytest.mark.parametrize("head", HEADERS, ids=range(len(HEADERS)))
def test_odd_http(server: RunningServer, head: bytes):
    port = int(server.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert not answer.startswith(b"HTTP/1.1 5")
    assert server.invoke(ROW).status_code == 200


def test_chunked_bodies_are_read_and_limited(tmp_path: Path, linear_model: Path):
    with serving(linear_model, tmp_path, SLIPWAY_MAX_PAYLOAD_MB="0.01") as server:
        url = f"{server.url}/invocations"
        pieces = [json.dumps(ROW).encode()[i : i + 7] for i in range(0, 200, 7)]
        assert httpx.post(url, content=iter(pieces), headers={"content-type": JSON}).json() == {"predictions": [1]}
        assert httpx.post(url, content=iter([b" " * 5000] * 4), headers={"content-type": JSON}).status_code == 413


def test_a_slow_client_hinders_nobody(compiled: RunningServer):
    port = int(compiled.url.rsplit(":", 1)[1])
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    for connection in slow:
        connection.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{")
    started = time.monotonic()
    for _ in range(20):
        assert compiled.invoke(ROW).status_code == 200
    assert time.monotonic() - started < 5
    for connection in slow:
        connection.close()


@pytest.fixture(scope="module")
def sleeper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save_sleeper(tmp_path_factory.mktemp("sleeper") / "model", 0.02)


def test_a_full_queue_answers_503_with_a_time_to_retry(sleeper: Path, tmp_path: Path):
    with serving(sleeper, tmp_path, SLIPWAY_QUEUE_LIMIT="2") as server:
        answers: list[httpx.Response] = []
        threads = [threading.Thread(target=lambda: answers.append(server.invoke(SLEEP_ROW))) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        statuses = Counter(answer.status_code for answer in answers)
        assert set(statuses) == {200, 503}
        assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 503)
        assert f"slipway_refused_queue_full_total {statuses[503]}" in server.get("/metrics").text


def test_a_prediction_that_does_not_end_is_answered_and_others_go_on(sleeper: Path, tmp_path: Path):
    with serving(sleeper, tmp_path, MODEL_SERVER_TIMEOUT="1") as server:
        for stuck in (1, 2, 3):
            started = time.monotonic()
            assert server.invoke(ENDLESS_ROW).status_code == 504
            assert time.monotonic() - started < 3
            assert server.invoke(SLEEP_ROW).status_code == 200
            assert server.get("/ping").status_code == (200 if stuck < 3 else 503)
        assert "slipway_timed_out_total 3" in server.get("/metrics").text


def test_every_worker_s_ping_knows_of_predictions_that_do_not_end(sleeper: Path, tmp_path: Path):
    with serving(sleeper, tmp_path, MODEL_SERVER_TIMEOUT="1", MODEL_SERVER_WORKERS="2") as server:
        with httpx.Client() as one_worker:
            for _ in range(3):
                answer = one_worker.post(f"{server.url}/invocations", json=ENDLESS_ROW, timeout=30)
                assert answer.status_code == 504
        end = time.monotonic() + 10
        while server.get("/ping").status_code == 200 and time.monotonic() < end:
            time.sleep(0.01)  # the thread is given up a moment after the caller's 504
        assert {server.get("/ping").status_code for _ in range(20)} == {503}
        assert "slipway_stuck_threads 3" in server.get("/metrics").text
        for worker in workers_of(server):
            os.kill(worker, signal.SIGKILL)
        wait_healthy(server)
        assert "slipway_stuck_threads 0" in server.get("/metrics").text


def workers_of(server: RunningServer) -> list[int]:
    pid = server.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.long
def test_a_worker_that_dies_is_replaced(sleeper: Path, tmp_path: Path):
    with serving(sleeper, tmp_path, MODEL_SERVER_WORKERS="2") as server:
        before = workers_of(server)
        os.kill(before[0], signal.SIGKILL)
        end = time.monotonic() + 60
        while len(set(workers_of(server)) - set(before)) == 0 and time.monotonic() < end:
            assert server.invoke(SLEEP_ROW).status_code == 200
            time.sleep(0.1)
        assert len(workers_of(server)) == 2
        assert server.stop() == 0


def test_workers_die_with_the_main_process(sleeper: Path, tmp_path: Path):
    with serving(sleeper, tmp_path) as server:
        workers = workers_of(server)
        server.process.kill()
        server.process.wait()
        time.sleep(0.5)
        assert not [pid for pid in workers if is_running(pid)]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Load:
    """Requests at a steady rate over kept-alive connections, whatever the answers."""

    def __init__(self, port: int, rate: float, connections: int) -> None:
        self.port, self.rate, self.connections = port, rate, connections
        self.statuses: Counter[int] = Counter()
        self.slowest_ping = 0.0

    async def run(self, seconds: float) -> None:
        tickets: asyncio.Queue[None] = asyncio.Queue(maxsize=self.connections)
        senders = [asyncio.create_task(self._send(tickets)) for _ in range(self.connections)]
        pinger = asyncio.create_task(self._ping())
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(max(1, round(self.rate * 0.02))):
                if not tickets.full():
                    tickets.put_nowait(None)
            await asyncio.sleep(0.02)
        for task in [*senders, pinger]:
            task.cancel()
        await asyncio.gather(*senders, pinger, return_exceptions=True)

    async def _send(self, tickets: asyncio.Queue[None]) -> None:
        body = json.dumps(SLEEP_ROW).encode()
        head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while True:
            await tickets.get()
            writer.write(head.encode() + body)
            self.statuses[await self._status(reader)] += 1

    async def _ping(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while True:
            started = time.monotonic()
            writer.write(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await self._status(reader) == 200
            self.slowest_ping = max(self.slowest_ping, time.monotonic() - started)
            await asyncio.sleep(0.1)

    async def _status(self, reader: asyncio.StreamReader) -> int:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        await reader.readexactly(length)
        return int(head.split(b" ", 2)[1])


def resident_bytes(server: RunningServer) -> int:
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in workers_of(server)]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("seconds", [6, pytest.param(60, marks=pytest.mark.long)])
def test_overload_keeps_the_goodput(sleeper: Path, tmp_path: Path, seconds: int):
    with serving(sleeper, tmp_path, SLIPWAY_QUEUE_LIMIT="16", SLIPWAY_ACCESS_LOG="off") as server:
        port = int(server.url.rsplit(":", 1)[1])
        calm = Load(port, 200, 4)
        asyncio.run(calm.run(4))
        capacity = calm.statuses[200] / 4
        before = resident_bytes(server)
        storm = Load(port, capacity * 10, 128)
        asyncio.run(storm.run(seconds))
        assert storm.statuses[503] > storm.statuses[200]
        assert set(storm.statuses) == {200, 503}
        assert storm.statuses[200] / seconds > 0.8 * capacity
        assert storm.slowest_ping < 2
        assert resident_bytes(server) < before + 50_000_000
        assert server.invoke(SLEEP_ROW).status_code == 200
