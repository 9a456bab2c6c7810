"""A waiting process that syncs on demand: lines of source, destination, endpoint in; CPU seconds and MiB out."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import boto3

from slipway.artifacts.transfer import sync


def main() -> None:
    """Serve until stdin ends."""
    session = boto3.Session()
    for line in sys.stdin:
        source, destination, endpoint = line.rstrip("\n").split("\t")
        began = time.process_time()
        sync(source, destination, session=session, endpoint_url=endpoint)
        memory = _peak_mebibytes()
        sys.stdout.write(f"{time.process_time() - began} {memory}\n")
        sys.stdout.flush()


def _peak_mebibytes() -> float:
    """The most memory that this process had so far; not ``ru_maxrss``, with which a child begins at its parent's."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def once(source: str, destination: str, endpoint: str) -> None:
    """One sync in this process, as a command line tool would do it."""
    sync(source, destination, session=boto3.Session(), endpoint_url=endpoint)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        once(*sys.argv[1:])
    else:
        main()
