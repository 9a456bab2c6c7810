"""A model's size must not show in the worker's memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slipway.images.layer import file_digest

if TYPE_CHECKING:
    from conftest import Registry

LIMIT_KIB = 150 << 10
SCRIPT = """
import re, sys
from pathlib import Path
from slipway.images.archive import write_layer
from slipway.images.builder import build_image
from slipway.images.push import push_layer
from slipway.images.registry import RegistryClient

url, model, out = sys.argv[1:]
local = write_layer(Path(model), "/opt/slipway/model", Path(out))
push_layer(RegistryClient(url), "slipway/large", local, lambda progress: None)
# Not ru_maxrss: a child begins with its parent's.
print(local.path, re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.parametrize("mebibytes", [300, pytest.param(2048, marks=pytest.mark.long)])
def test_packing_and_sending_a_large_model_takes_little_memory(
    registry: Registry, tmp_path: Path, mebibytes: int
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    block = os.urandom(1 << 20)  # the compressor looks back 32 KiB only, so this does not shrink
    with (model / "weights.bin").open("wb") as file:
        for _ in range(mebibytes):
            file.write(block)
    call = [sys.executable, "-c", SCRIPT, registry.url, str(model), str(tmp_path / "out")]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    path, peak_kib = done.stdout.split()
    assert registry.bytes_received() == Path(path).stat().st_size > mebibytes << 20
    assert file_digest(Path(path)) in registry.blobs["slipway/large"]
    assert int(peak_kib) < LIMIT_KIB
    for each in (model / "weights.bin", Path(path)):
        each.unlink()  # pytest keeps folders
