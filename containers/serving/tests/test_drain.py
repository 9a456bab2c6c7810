"""SIGTERM: every request whose connection the kernel accepted is answered, then the process ends with 0."""

from __future__ import annotations

import http.client
import json
import threading
import time
from pathlib import Path

import models
import pytest
from serving_process import serving, wait_healthy

BODY = json.dumps({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}})


@pytest.fixture(scope="module")
def sleeper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save_sleeper(tmp_path_factory.mktemp("sleeper") / "model", 0.02)


class Client(threading.Thread):
    """Sends requests over one kept-alive connection, opening another when either side closes it."""

    def __init__(self, port: int, *, keep_alive: bool) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.headers = {"content-type": "application/json", **({} if keep_alive else {"connection": "close"})}
        self.answered = 0
        self.lost: list[str] = []

    def run(self) -> None:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            try:
                connection.connect()
            except OSError:
                return  # refused: the server is gone and nothing was sent
            if not self._use(connection):
                return

    def _use(self, connection: http.client.HTTPConnection) -> bool:
        while True:
            try:
                connection.request("POST", "/invocations", BODY, self.headers)
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.lost.append(repr(error))
                return False
            if response.status != 200 or answer != {"predictions": [3.0]}:
                self.lost.append(f"{response.status} {answer}")
                return False
            self.answered += 1
            if response.will_close:
                connection.close()
                return True


@pytest.mark.parametrize(("workers", "keep_alive"), [("1", True), ("2", True), ("2", False)])
def test_no_request_is_lost_when_the_server_is_told_to_stop(
    sleeper: Path, tmp_path: Path, workers: str, keep_alive: bool
):
    with serving(sleeper, tmp_path, MODEL_SERVER_WORKERS=workers) as server:
        clients = [Client(int(server.url.rsplit(":", 1)[1]), keep_alive=keep_alive) for _ in range(16)]
        for client in clients:
            client.start()
        time.sleep(1)
        assert server.stop() == 0
        for client in clients:
            client.join(20)
        assert [loss for client in clients for loss in client.lost] == []
        assert sum(client.answered for client in clients) > 50


def test_a_long_prediction_ends_before_the_process_does(tmp_path: Path):
    model = models.save_sleeper(tmp_path / "model", 3.0)
    with serving(model, tmp_path) as server:
        answers: list[int] = []
        thread = threading.Thread(target=lambda: answers.append(server.invoke(BODY.encode()).status_code))
        thread.start()
        time.sleep(0.5)
        assert server.stop() == 0
        thread.join(10)
        assert answers == [200]


def test_ping_says_no_while_draining(sleeper: Path, tmp_path: Path):
    with serving(sleeper, tmp_path) as server:
        wait_healthy(server)
        server.process.terminate()
        time.sleep(0.4)
        assert server.get("/ping").status_code == 503
        assert server.process.wait(20) == 0


def test_a_server_that_is_told_to_stop_while_it_loads_does_so_at_once(tmp_path: Path):
    model = models.save_slow_loader(tmp_path / "model", 60.0)
    with serving(model, tmp_path, wait=False) as server:
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        end = time.monotonic() + 60
        while not children.read_text() and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(3)
        started = time.monotonic()
        assert server.stop(60) == 0
        assert time.monotonic() - started < 12
