"""The server needs no network, no writable disk and no particular user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import models
import pytest

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("mount") is None,
    reason="needs root, unshare and mount, to make a namespace",
)

INSIDE = """
import fcntl, json, os, socket, struct, subprocess, sys, time, urllib.request
model, port = sys.argv[1], 8080
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sH14s", b"lo", 1, b""))  # SIOCSIFFLAGS, IFF_UP
subprocess.run(["mount", "-o", "remount,ro", "/"], capture_output=True)
subprocess.run(["mount", "--bind", "-o", "ro", "/", "/"], capture_output=True)
subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", "/dev/shm"], check=True)
environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TMPDIR": "/nonexistent", "SLIPWAY_MODEL_DIR": model,
    "MODEL_SERVER_WORKERS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
server = subprocess.Popen([sys.executable, "-m", "slipway_serving", "serve"], env=environment, stdout=sys.stderr,
    **({"user": 65534, "group": 65534, "extra_groups": []} if sys.argv[3] == "nobody" else {}))
def get(path, data=None):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"content-type": "application/json"})
    return urllib.request.urlopen(request, timeout=10).read()
for _ in range(600):
    try:
        get("/ping")
        break
    except OSError:
        time.sleep(0.1)
answer = json.loads(get("/invocations", sys.argv[2].encode()))
server.terminate()
try:
    open(os.path.join(model, "written"), "w")
    writable = True
except OSError:
    writable = False
print(json.dumps({"answer": answer, "exit_code": server.wait(30), "writable": writable}))
"""


def user() -> str:
    """Return ``nobody`` where that user may start this interpreter, else ``root``."""
    folders = {*Path(sys.executable).absolute().parents, *Path(sys.executable).resolve().parents}
    return "nobody" if all(folder.stat().st_mode & 0o001 for folder in folders) else "root"


@pytest.mark.parametrize("engine", ["native", "pyfunc"])
def test_a_read_only_root_without_network_will_do(engine: str):
    folder = Path("/var/tmp") / f"slipway-confined-{os.getpid()}-{engine}"  # where the user nobody may read
    try:
        model = models.save_linear(folder / "model")
        if engine == "native":
            models.compile_model(model)
        body = {"dataframe_split": {"columns": ["c0", "c1", "c2", "c3"], "data": [[1, 1, 1, 1]]}}
        command = ["unshare", "--mount", "--net", sys.executable, "-c", INSIDE, str(model), json.dumps(body), user()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found == {"answer": {"predictions": [1]}, "exit_code": 0, "writable": False}, done.stderr
        assert f"engine {engine}" in done.stderr
    finally:
        shutil.rmtree(folder, ignore_errors=True)
