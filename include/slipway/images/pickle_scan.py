"""What a model's pickles would import: unpickling runs code, so a foreign model is looked at before it is shipped.

The looking is done by picklescan (MIT, no dependencies, kept up since 2022), which reads pickles without running them.
Of its kin, modelscan does not run on Python 3.13 and pins an older rich, and fickling is under the LGPL.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tempfile
import zlib
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, cast

from slipway.errors import ModelNotDeployableError

if TYPE_CHECKING:
    from collections.abc import Iterator

Policy = Literal["off", "warn", "refuse"]
_EXTENSIONS = frozenset({
    ".pkl", ".pickle", ".joblib", ".cloudpickle", ".dat", ".data", ".bin", ".pt", ".pth", ".ckpt", ".npy", ".npz",
    ".skops", ".zip", ".7z",
})  # fmt: skip
_PICKLE_MAGIC = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_ZIP_MAGIC = b"PK\x03\x04"
_ZLIB_MAGIC = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_INFLATED_LIMIT_BYTES = 8 << 30  # more than this from one file is a bomb, not a model


@dataclass(frozen=True)
class Finding:
    """An import in a pickle: ``dangerous`` (it can run commands, read files and so on) or ``suspicious`` (unknown)."""

    file: str
    imported: str
    safety: Literal["dangerous", "suspicious"]


@dataclass(frozen=True)
class ScanReport:
    """What was looked at and found; ``unreadable`` files could not be read to their end.

    joblib writes arrays raw into the middle of a pickle; such a file can be read up to its first array only.
    """

    scanner: str
    files: tuple[str, ...]
    findings: tuple[Finding, ...]
    unreadable: tuple[str, ...]

    @property
    def dangerous(self) -> tuple[Finding, ...]:
        """The findings that matter."""
        return tuple(finding for finding in self.findings if finding.safety == "dangerous")

    @property
    def is_safe(self) -> bool:
        """Whether everything could be read and nothing dangerous was in it."""
        return not (self.dangerous or self.unreadable)

    def summary(self) -> str:
        """Say in one line what was found."""
        parts = [
            _counted(len(self.dangerous), "dangerous import"),
            _counted(len(self.findings) - len(self.dangerous), "import", "unknown to the scanner"),
            _counted(len(self.unreadable), "file", "not readable to its end"),
        ]
        found = ", ".join(part for part in parts if part) or ("nothing dangerous" if self.files else "no pickles")
        return f"{found} ({_counted(len(self.files), 'file') or 'no files'}, {self.scanner})"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> ScanReport:
        """Read what `to_dict` wrote."""
        findings = tuple(Finding(**finding) for finding in document["findings"])
        return cls(document["scanner"], tuple(document["files"]), findings, tuple(document["unreadable"]))


def _counted(number: int, noun: str, which: str = "") -> str:
    words = f"{number} {noun}{'' if number == 1 else 's'}{f' {which}' if which else ''}"
    return words if number else ""


def scan_model(model_dir: Path, *, policy: Policy = "warn") -> ScanReport:
    """Look into every pickle below ``model_dir``, archives and compressed files included, without running any.

    Args:
        model_dir: folder of the model.
        policy: ``refuse`` raises on dangerous imports and unreadable pickles, ``warn`` only reports, ``off`` looks at
            nothing.

    Raises:
        ModelNotDeployableError: under ``refuse``; names files and imports.
    """
    found: list[Finding] = []
    unreadable: list[str] = []
    files = [] if policy == "off" else [path for path in sorted(model_dir.rglob("*")) if _may_be_pickle(path)]
    names = [path.relative_to(model_dir).as_posix() for path in files]
    for path, name in zip(files, names, strict=True):
        findings, readable = _scan(path, name)
        found += findings
        if not readable:
            unreadable.append(name)
    report = ScanReport(f"picklescan {version('picklescan')}", tuple(names), tuple(found), tuple(unreadable))
    enforce(report, policy)
    return report


def enforce(report: ScanReport, policy: Policy) -> None:
    """Hold a report against a policy.

    Raises:
        ModelNotDeployableError: the policy is ``refuse`` and the model is not safe; names files and imports.
    """
    if policy == "refuse" and not report.is_safe:
        raise ModelNotDeployableError(_refusal(report))


def _refusal(report: ScanReport) -> str:
    imports = [f"{finding.file} imports {finding.imported}" for finding in report.dangerous]
    broken = [f"{name} cannot be read to its end" for name in report.unreadable]
    return (
        f"the model's pickles are not safe to load: {'; '.join(imports + broken)}. Save the model in a format "
        "without code (skops, ONNX, the library's own), or set the policy to warn if you trust who made it"
    )


def _may_be_pickle(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(6)
    return path.suffix.lower() in _EXTENSIONS or head.startswith((*_PICKLE_MAGIC, _ZIP_MAGIC)) or bool(_opener(head))


def _scan(path: Path, name: str) -> tuple[list[Finding], bool]:
    from picklescan.scanner import SafetyLevel, scan_bytes  # type: ignore[import-untyped]

    try:
        with _inflated(path) as file:
            result = scan_bytes(file, name, path.suffix.lower())
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        return [], False
    worth = {SafetyLevel.Dangerous: "dangerous", SafetyLevel.Suspicious: "suspicious"}
    findings = {
        Finding(name, f"{entry.module}.{entry.name}", cast("Any", worth[entry.safety]))
        for entry in result.globals
        if entry.safety in worth
    }
    return sorted(findings, key=lambda finding: (finding.safety, finding.imported)), not result.scan_err


def _opener(head: bytes) -> Any:
    """Return what opens a compressed file that begins with ``head``, None for any other; joblib writes all of these."""
    if head.startswith(b"\x1f\x8b"):
        return gzip.open
    if head.startswith(b"BZh"):
        return bz2.open
    if head.startswith(b"\xfd7zXZ"):
        return lzma.open
    return _open_zlib if head.startswith(_ZLIB_MAGIC) else None


@contextmanager
def _inflated(path: Path) -> Iterator[IO[bytes]]:
    """Open ``path``, decompressed onto disk if need be."""
    with path.open("rb") as plain:
        opener = _opener(plain.read(6))
        plain.seek(0)
        if opener is None:
            yield plain
            return
    with opener(path, "rb") as compressed, tempfile.TemporaryFile() as inflated:
        while chunk := compressed.read(1 << 20):
            inflated.write(chunk)
            if inflated.tell() > _INFLATED_LIMIT_BYTES:
                raise ValueError(f"{path.name} inflates without end")
        inflated.seek(0)
        yield inflated


class _ZlibFile:
    """A zlib stream, readable in pieces."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._inflate = file, zlib.decompressobj()

    def read(self, size: int) -> bytes:
        data = self._inflate.decompress(self._inflate.unconsumed_tail or self._file.read(size), size)
        while not data and not self._inflate.eof:
            chunk = self._file.read(size)
            if not chunk:
                raise EOFError("the zlib stream is cut short")
            data = self._inflate.decompress(chunk, size)
        return data


@contextmanager
def _open_zlib(path: Path, _mode: str) -> Iterator[_ZlibFile]:
    with path.open("rb") as file:
        yield _ZlibFile(file)
