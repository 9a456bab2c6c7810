"""Objects prepared by a container of the service's own: which files it is given, and which it has to leave.

The folders are those of SageMaker's processing jobs, so that an image fits both
(https://docs.aws.amazon.com/sagemaker/latest/dg/byoc-input-and-output.html); the reason of a failure is in
``/opt/ml/output/message`` (https://docs.aws.amazon.com/sagemaker/latest/dg/byoc-metadata.html).

::

    /opt/ml/processing/input/<path>             an object, by what follows the data's folder
    /opt/ml/processing/output/<path>            the rows to train on of it, in the format that its ending says
    /opt/ml/processing/output/<path>.parquet    the same, in another format (.csv, .json, .jsonl as well)
    /opt/ml/processing/output/<path>.refused    why nobody should train on it: it is set aside with this text
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from slipway.errors import ContainerFailedError
from slipway.images.container_run import ContainerRun

INPUT = PurePosixPath("/opt/ml/processing/input")
OUTPUT = PurePosixPath("/opt/ml/processing/output")
_MESSAGES = PurePosixPath("/opt/ml/output")
#: By the training contract it is ``failure``, by the processing contract ``message``.
_MESSAGE_NAMES = ("message", "failure")
_MESSAGE_BYTES = 1024  # as much of it as SageMaker keeps
_REFUSED = ".refused"
_ENDINGS = ("", ".parquet", ".pq", ".csv", ".json", ".jsonl")
_SHOWN = 10
_NAME_BYTES = 255 - len(_REFUSED)  # of one name in a folder (NAME_MAX), with room for an ending


@dataclass(frozen=True)
class Prepared:
    """What the container made of one object.

    Args:
        file: The rows to train on; None for an object that is refused.
        refusal: Why.
    """

    file: Path | None = None
    refusal: str = ""


def unfit_paths(paths: Collection[str]) -> dict[str, str]:
    """Which of some objects cannot be files beside the others, and why.

    Args:
        paths: What follows the data's folder in their keys.
    """
    known = set(paths)
    found = {}
    for path in paths:
        parts = path.split("/")
        above = {"/".join(parts[:count]) for count in range(1, len(parts))}
        if any(part in {"", ".", ".."} or "\0" in part for part in parts):
            found[path] = f"{path!r} cannot be the name of a file"
        elif any(len(part.encode()) > _NAME_BYTES for part in parts):
            found[path] = f"a part of {path!r} is longer than {_NAME_BYTES} bytes, too long for the name of a file"
        elif above & known:
            found[path] = f"{min(above & known)!r} is an object, and cannot be a folder as well"
    return found


class ContainerFolders:
    """The container's files as they are laid out on this machine, before and after it ran.

    Args:
        folder: A folder that holds nothing else of this kind.
        data_format: Format of the objects whose names do not say it; None: theirs do.
    """

    def __init__(self, folder: Path, data_format: str | None = None) -> None:
        self._data_format = data_format
        self._named = folder / "named"
        self.given = folder / "given"
        self.output = folder / "output"
        self.messages = folder / "messages"
        for each in (self.output, self.messages, self._named):
            each.mkdir()
        for inside in (INPUT, OUTPUT, _MESSAGES):
            made = self._in_given(inside)
            made.mkdir(parents=True)
            # Of any user of the image, also of one that is not root.
            made.chmod(0o755 if inside == INPUT else 0o777)

    def place(self, path: str) -> Path:
        """Where the object of a path is to be written; :func:`unfit_paths` has none to say against it."""
        file = self._in_given(INPUT) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def run(
        self, container: ContainerRun, image: str, paths: Collection[str], on_line: Callable[[str], None]
    ) -> dict[str, Prepared]:
        """Run the container over the files that were placed.

        Args:
            container: The container.
            image: Name of its image, for messages.
            paths: Of the objects that were placed.
            on_line: Is given each line that the container prints.

        Returns:
            What it made of each, by path.

        Raises:
            ContainerFailedError: It failed, or left nothing for an object.
            EngineUnavailableError: No engine answers.
        """
        last = ""

        def passed_on(line: str) -> None:
            nonlocal last
            last = line.strip() or last
            on_line(line)

        end = container.run(self.given, {str(OUTPUT): self.output, str(_MESSAGES): self.messages}, passed_on)
        if end.code or end.out_of_memory:
            said = self._message() or (f"its last line is {last!r}" if last else "it said nothing")
            why = "was killed for its memory" if end.out_of_memory else f"ended with code {end.code}"
            raise ContainerFailedError(f"the container of {image} {why}: {said}")
        return self._collected(image, paths)

    def _in_given(self, inside: PurePosixPath) -> Path:
        return self.given / inside.relative_to("/")

    def _message(self) -> str:
        for name in _MESSAGE_NAMES:
            file = self.messages / name
            if file.is_file() and not file.is_symlink():
                with file.open("rb") as content:
                    return content.read(_MESSAGE_BYTES).decode(errors="replace").strip()
        return ""

    def _collected(self, image: str, paths: Collection[str]) -> dict[str, Prepared]:
        written = set(_files(self.output))
        found = {path: self._made_of(path, written, paths) for path in paths}
        missing = sorted(path for path, made in found.items() if made is None)
        if missing:
            raise ContainerFailedError(
                f"the container of {image} left nothing for {_some(missing)}; expected {OUTPUT}/{missing[0]}, with "
                f"another ending such as .parquet behind it if need be, or {missing[0]}{_REFUSED} with the reason; it "
                f"left {_some(sorted(written)) or 'no file'}"
            )
        return {path: made for path, made in found.items() if made is not None}

    def _made_of(self, path: str, written: Collection[str], paths: Collection[str]) -> Prepared | None:
        if f"{path}{_REFUSED}" in written and f"{path}{_REFUSED}" not in paths:
            text = (self.output / f"{path}{_REFUSED}").read_bytes()[:_MESSAGE_BYTES].decode(errors="replace").strip()
            return Prepared(refusal=text or "no reason is given")
        for ending in _ENDINGS:
            name = f"{path}{ending}"
            if name in written and (not ending or name not in paths):
                return Prepared(self._with_format(self.output / name) if not ending else self.output / name)
        return None

    def _with_format(self, file: Path) -> Path:
        """The file under a name that says its format."""
        if self._data_format is None:
            return file
        named = self._named / f"{len(list(self._named.iterdir()))}.{self._data_format}"
        return file.rename(named)


def _files(folder: Path) -> Iterable[str]:
    """Files below a folder. Symbolic links are no files, as in a processing job: they could lead to anything here."""
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place) / name
            if not file.is_symlink() and file.is_file():
                yield file.relative_to(folder).as_posix()


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more
