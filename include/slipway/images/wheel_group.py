"""How a dependency lock is cut into layers: heavy packages alone, the long tail together in a few drawers.

One bumped package then costs its own layer (or its drawer's) and nothing else. The cut depends on names alone, so that
the same lock gives the same layers on every machine.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from slipway.errors import DependencyLockError
from slipway.images.layer import content_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Distributions of 8 MB or more installed that models commonly need. One that is missing here only lies in the tail.
HEAVY = (
    "botocore", "catboost", "cryptography", "duckdb", "gensim", "granian", "grpcio", "h5py", "jax*", "keras*",
    "lightgbm", "llvmlite", "matplotlib", "mlflow*", "numba", "numpy", "nvidia-*", "onnx", "onnxruntime*",
    "opencv-*", "pandas", "pillow", "plotly", "polars*", "prophet", "pyarrow", "pyspark*", "scikit-image",
    "scikit-learn", "scipy", "shap", "spacy", "sqlalchemy", "statsmodels", "sympy", "tensorflow*", "tokenizers",
    "torch*", "transformers", "treelite", "triton", "xgboost*",
)  # fmt: skip
TAIL_DRAWERS = 8  # layers for all the rest: few enough for engines, many enough that one bump re-sends little
_FORMAT = 2  # of a layer's content; raised when the same lock shall give other bytes
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_HASH = re.compile(r"--hash[= ](\S+)")


@dataclass(frozen=True, order=True)
class Pin:
    """One locked package: normalised name, requirement as written, hashes in order.

    ``backend`` is empty for a wheel. For a package that may be built from its source it holds the locked packages that
    build it.
    """

    name: str
    requirement: str
    hashes: tuple[str, ...]
    backend: tuple[str, ...] = ()

    def line(self) -> str:
        """Write it as a requirements file wants it."""
        return " ".join([self.requirement, *(f"--hash={value}" for value in self.hashes)])


@dataclass(frozen=True)
class WheelGroup:
    """Packages that share a layer."""

    name: str
    pins: tuple[Pin, ...]

    def key(self, python: str, platform: str) -> str:
        """Derive the key of the layer: equal keys mean equal content."""
        content = [[pin.requirement, *pin.hashes, *pin.backend] for pin in self.pins]
        return content_key(_FORMAT, python, platform, content)

    def tag(self, python: str, platform: str) -> str:
        """Name the registry tag under which the layer is kept."""
        return f"{self.name}-{self.key(python, platform)}"


def parse_pins(lock: str, built: Mapping[str, Sequence[str]] | None = None) -> tuple[Pin, ...]:
    """Read the packages of a lock in the format of requirements files with hashes, sorted by name.

    Comments, order and the indexes that a lock may name do not matter.

    Args:
        lock: the lock's text.
        built: by name, the packages that may be built from their source, and the locked packages that build each.

    Raises:
        DependencyLockError: an entry has no hash, or there is a line that is no package.
    """
    joined = re.sub(r"\\\n", " ", lock)
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
    pins = sorted(_pin(line) for line in lines if line and not line.startswith("-"))
    return tuple(replace(pin, backend=tuple((built or {}).get(pin.name, ()))) for pin in pins)


def _pin(line: str) -> Pin:
    requirement = " ".join(line.partition("--hash")[0].split())
    name = _NAME.match(requirement)
    hashes = tuple(sorted(_HASH.findall(line)))
    if not name or not hashes:
        raise DependencyLockError(f"{line!r} is not a locked package with a hash: make the lock again")
    return Pin(re.sub(r"[-_.]+", "-", name.group()).lower(), requirement, hashes)


def group_pins(pins: tuple[Pin, ...]) -> tuple[WheelGroup, ...]:
    """Cut the packages into groups ``wheel-<name>`` and ``tail-<drawer>``, ordered by name."""
    groups: dict[str, list[Pin]] = {}
    for pin in sorted(pins):
        groups.setdefault(_group_of(pin.name), []).append(pin)
    return tuple(WheelGroup(name, tuple(members)) for name, members in sorted(groups.items()))


def _group_of(name: str) -> str:
    if any(fnmatchcase(name, pattern) for pattern in HEAVY):
        return f"wheel-{name}"
    return f"tail-{int(hashlib.sha256(name.encode()).hexdigest(), 16) % TAIL_DRAWERS}"
