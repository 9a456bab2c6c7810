"""What a model's pickles would import: unpickling runs code, so a foreign model is looked at before it is shipped.

The looking is done by picklescan (MIT, no dependencies, kept up since 2022), which reads pickles without running them.
Of its kin, modelscan does not run on Python 3.13 and pins an older rich, and fickling is under the LGPL.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Literal, cast

from slipway.errors import ModelNotDeployableError, SlipwayError
from slipway.images.pickle_stream import ARRAY_MAGIC, PICKLE_MAGIC, calls_something, imports_of
from slipway.images.wrapping import (
    HEAD_BYTES,
    Allowance,
    WrappingError,
    begins_wrapped,
    compression,
    inflated,
    inflated_name,
    is_closed,
    is_tar,
    is_zip,
    seekable,
    tar_members,
    zip_members,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from slipway.images.wrapping import Compressed, Member

Policy = Literal["off", "warn", "refuse"]
_PICKLE_SUFFIXES = frozenset({".pkl", ".pickle", ".joblib", ".cloudpickle", ".sav"})
"""What is called so is a pickle, or it cannot be read."""
_SUFFIXES = _PICKLE_SUFFIXES | {
    ".dat", ".data", ".bin", ".model", ".pt", ".pth", ".ckpt", ".npy", ".npz", ".skops", ".zip", ".7z", ".tar",
}  # fmt: skip
"""What is called so may be a pickle or hold one, and is named among the files that were looked at."""
_DEPTH_LIMIT = 6  # files in files; an archive below is not opened


@dataclass(frozen=True)
class Finding:
    """An import in a pickle: ``dangerous`` (it can run commands, read files and so on) or ``suspicious`` (unknown)."""

    file: str
    imported: str
    safety: Literal["dangerous", "suspicious"]


@dataclass(frozen=True)
class ScanReport:
    """What was looked at and found; ``unreadable`` files could not be read to their end.

    That is said, too, of archives and compressed files of which a part cannot be opened, and of files that are called
    pickles and are none. joblib writes arrays raw into the middle of a pickle; such a file can be read up to its first
    array only.
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
    """Look into every pickle below ``model_dir``, without running any.

    Archives and compressed files are opened, those in them too. What a file is shows in its content; a name only says
    what must be a pickle.

    Args:
        model_dir: folder of the model.
        policy: ``refuse`` raises on dangerous imports and unreadable pickles, ``warn`` only reports, ``off`` looks at
            nothing.

    Raises:
        ModelNotDeployableError: under ``refuse``; names files and imports.
        StorageUnavailableError: what a file holds does not fit onto the disk beside the model.
    """
    paths = [] if policy == "off" else sorted(model_dir.rglob("*"))
    scans = [_scan(path, model_dir) for path in paths if _is_own_file(path)]
    named = [scan for scan in scans if scan.is_worth_naming or not scan.is_readable]
    report = ScanReport(
        scanner=f"picklescan {version('picklescan')}",
        files=tuple(scan.name for scan in named),
        findings=tuple(finding for scan in named for finding in scan.findings),
        unreadable=tuple(scan.name for scan in named if not scan.is_readable),
    )
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


def _is_own_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _scan(path: Path, model_dir: Path) -> _FileScan:
    scan = _FileScan(path.relative_to(model_dir).as_posix(), model_dir.resolve().parent)
    try:
        with path.open("rb") as file:
            scan.look(file, scan.name)
    except (OSError, WrappingError):
        scan.is_readable = False
    return scan


class _FileScan:
    """One file of the model, with all that is in it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._allowance = Allowance(folder)
        self.imports: set[tuple[str, str]] = set()
        self.is_readable = True
        self.is_worth_naming = False
        """Whether it is a pickle, or may hold one."""

    @property
    def findings(self) -> list[Finding]:
        """What it would import, the dangerous first."""
        ordered = sorted(self.imports, key=lambda each: (each[1], each[0]))
        return [Finding(self.name, imported, cast("Any", safety)) for imported, safety in ordered]

    def look(self, file: IO[bytes], name: str, depth: int = 0, size_bytes: int = 0) -> None:
        """Look into a file, and into the files in it.

        Args:
            file: seekable, at its beginning.
            name: of the file, or of the member of an archive.
            depth: how many files it is in.
            size_bytes: what reading it takes of the file's allowance; nothing when it lies on this disk.
        """
        suffix = PurePosixPath(name).suffix.lower()
        head = file.read(HEAD_BYTES)
        is_wrapped = self._unwrap(file, head, name, depth)
        # An archive can begin with a pickle: what loads it decides which of the two it is.
        must_parse = calls_something(file) or (suffix in _PICKLE_SUFFIXES and not begins_wrapped(head))
        is_pickle = must_parse or head.startswith((*PICKLE_MAGIC, ARRAY_MAGIC))
        self.is_worth_naming |= is_wrapped or is_pickle or suffix in _SUFFIXES
        if is_pickle:
            self._allowance.spend(size_bytes)
            file.seek(0)
            imports, is_readable = imports_of(file, name, suffix, must_parse=must_parse)
            self.imports |= imports
            self.is_readable &= is_readable

    def _unwrap(self, file: IO[bytes], head: bytes, name: str, depth: int) -> bool:
        """Look at what a file holds; returns whether it is compressed or an archive."""
        file.seek(0)
        how = compression(head)
        if is_closed(head) or (begins_wrapped(head) and depth == _DEPTH_LIMIT):
            self.is_readable = False
            return True
        try:
            if how:
                return self._look_at_inflated(file, how, name, depth)
            if is_tar(head):
                return self._look_at_members(file, tar_members, depth)
            if is_zip(file, head):
                return self._look_at_members(file, zip_members, depth)
        except SlipwayError:
            raise
        except WrappingError:
            self.is_readable = False
            return True
        except Exception:  # noqa: BLE001  # damaged archives raise anything
            is_chance = not begins_wrapped(head)
            self.is_readable &= is_chance
            return not is_chance
        return False

    def _look_at_inflated(self, file: IO[bytes], how: Compressed, name: str, depth: int) -> bool:
        name = inflated_name(name)
        with inflated(file, how, self._allowance) as (content, is_whole):
            is_chance = not (is_whole or how.is_certain or PurePosixPath(name).suffix.lower() in _PICKLE_SUFFIXES)
            if is_chance and not (content.read(2) in PICKLE_MAGIC or calls_something(content)):
                return False
            content.seek(0)
            self.is_readable &= is_whole
            self.look(content, name, depth + 1)
        return True

    def _look_at_members(
        self, file: IO[bytes], members_of: Callable[[IO[bytes]], Iterator[Member]], depth: int
    ) -> bool:
        with seekable(file, self._allowance) as archive:
            for member in members_of(archive):
                self._allowance.spend_member()
                self.is_readable &= not member.is_encrypted
                try:
                    with member.open() as content:
                        self.look(content, member.name, depth + 1, member.size_bytes)
                except SlipwayError:
                    raise
                except Exception:  # noqa: BLE001  # an unknown compression, a damaged header
                    self.is_readable = False
        return True
