"""What SageMaker gives a training container, as a command and its job.

Files and their contents: "How Amazon SageMaker Provides Training Information",
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html. In mode ``File``
(and ``FastFile``) each channel is a folder below ``input/data``; in mode ``Pipe`` it is a stream, which nothing here
reads.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_trainer.command import COMMANDS
from slipway_trainer.job import Job, job_from
from slipway_trainer.problem import TrainingError

#: Channel whose files are the objects of a job that lists none; SageMaker's own examples call it so.
DATA_CHANNEL = "training"
JOB_CHANNEL = "job"
_OURS = ("command", "job")
#: Hyperparameters that SageMaker's Python SDK and its tuning jobs add for themselves.
_OF_SAGEMAKER = ("sagemaker_", "_tuning_")
_REFERENCE = re.compile(r"channel://([A-Za-z0-9._-]+)/?(.*)", re.DOTALL)  # the API's characters of a channel's name


@dataclass(frozen=True)
class Folders:
    """Where a training container finds and leaves things, below ``/opt/ml`` or another root."""

    root: Path

    @property
    def config(self) -> Path:
        """Hyperparameters and what else describes the training."""
        return self.root / "input" / "config"

    @property
    def data(self) -> Path:
        """One folder a channel."""
        return self.root / "input" / "data"

    @property
    def model(self) -> Path:
        """Becomes ``model.tar.gz``."""
        return self.root / "model"

    @property
    def output(self) -> Path:
        """Becomes ``output.tar.gz``."""
        return self.root / "output" / "data"

    @property
    def checkpoints(self) -> Path:
        """Is kept over interruptions of a spot job; there when the job asks for it."""
        return self.root / "checkpoints"

    @property
    def failure(self) -> Path:
        """Its text becomes the training job's ``FailureReason``."""
        return self.root / "output" / "failure"


def read_order(folders: Folders) -> tuple[str, Job]:
    """Read which command to run, with which job.

    Args:
        folders: Where SageMaker put everything.

    Returns:
        One of the trainer's commands, and its job with all references to channels replaced by paths.

    Raises:
        TrainingError: Something is missing, unreadable or unknown; the message says what was found and expected.
    """
    _refuse_many_hosts(folders)
    _refuse_streams(folders)
    given = _hyperparameters(folders.config / "hyperparameters.json")
    command = _value(given.get("command", "train"))
    if command not in COMMANDS:
        raise TrainingError(f"the hyperparameter 'command' is {command!r}; expected one of {', '.join(COMMANDS)}")
    document = _job_document(folders, given.get("job"))
    document.setdefault("objects", [{"uri": f"channel://{DATA_CHANNEL}"}])
    found = _resolved(document, folders)
    if isinstance(found["objects"], list):
        found["objects"] = list(_files(found["objects"]))
    settings = {
        name: _value(text) for name, text in given.items() if name not in _OURS and not name.startswith(_OF_SAGEMAKER)
    }
    if settings:
        found["hyperparameters"] = {**(found.get("hyperparameters") or {}), **settings}
    if os.environ.get("TRAINING_JOB_NAME"):
        found["tags"] = {**(found.get("tags") or {}), "slipway.training_job": os.environ["TRAINING_JOB_NAME"]}
    return command, job_from(found)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise TrainingError(f"{path} is not JSON: {error}") from error


def _hyperparameters(path: Path) -> dict[str, str]:
    found = _json(path)
    if not isinstance(found, dict):
        raise TrainingError(f"{path} holds a {type(found).__name__}; expected an object of texts by name")
    for name, value in found.items():
        if not isinstance(value, str):
            raise TrainingError(f"{path}: {name!r} is {json.dumps(value)}; every hyperparameter is given as text")
    return found


def _value(text: str) -> Any:
    """A hyperparameter's value: what it is as JSON, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _job_document(folders: Folders, text: str | None) -> dict[str, Any]:
    file = folders.data / JOB_CHANNEL / "job.json"
    if text is not None and file.exists():
        raise TrainingError(f"the job is given twice, as hyperparameter 'job' and as {file}; leave one out")
    if text is not None:
        found, where = _value(text), "the hyperparameter 'job'"
        found = _value(found) if isinstance(found, str) else found  # SageMaker's Python SDK packs texts twice
    elif file.exists():
        found, where = _json(file), str(file)
    else:
        raise TrainingError(
            f"no job is given: there is no {file} (channel {JOB_CHANNEL!r}; {_offered(folders)}) and no hyperparameter "
            "'job', which holds it as JSON of up to 2,500 characters"
        )
    if not isinstance(found, dict):
        raise TrainingError(f"{where} is no job: expected a JSON object, found {str(found)[:80]!r}")
    return found


def _resolved(value: Any, folders: Folders) -> Any:
    """The value with every text that refers to a channel replaced by the path."""
    if isinstance(value, dict):
        return {name: _resolved(each, folders) for name, each in value.items()}
    if isinstance(value, list):
        return [_resolved(each, folders) for each in value]
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return _path(folders, match[1], match[2]) if match else value


def _path(folders: Folders, channel: str, rest: str) -> str:
    folder = folders.data / channel
    if not folder.is_dir():
        raise TrainingError(f"the job needs the channel {channel!r}; {_offered(folders)}")
    file, colon, _ = rest.rpartition(":")  # a function is named file.py:function
    if not _is_there(folder, rest) and not (colon and _is_there(folder, file)):
        raise TrainingError(f"the channel {channel!r} has no {rest!r}; it has {_some(folder)}")
    return str(folder / rest)


def _is_there(folder: Path, name: str) -> bool:
    try:
        return (folder / name).exists()
    except (OSError, ValueError):  # no name of a file, or a longer one than there can be
        return False


def _offered(folders: Folders) -> str:
    return f"the channels given are {_some(folders.data)}"


def _some(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return ", ".join(map(repr, names[:20])) or "none"


def _files(objects: list[Any]) -> Iterator[Any]:
    """The objects, with folders replaced by the files in them; names as Spark skips them are left out."""
    for entry in objects:
        folder = Path(entry["uri"]) if isinstance(entry, dict) and isinstance(entry.get("uri"), str) else None
        if folder is None or not folder.is_dir():
            yield entry
            continue
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        wanted = [path for path in paths if not any(part[0] in "._" for part in path.relative_to(folder).parts)]
        if not wanted:
            raise TrainingError(f"{folder} holds no file to read; it has {_some(folder)}")
        yield from ({"uri": str(path), "size": path.stat().st_size} for path in wanted)


def _refuse_streams(folders: Folders) -> None:
    path = folders.config / "inputdataconfig.json"
    channels = _json(path) if path.exists() else {}
    for name, channel in channels.items():
        if isinstance(channel, dict) and channel.get("TrainingInputMode") == "Pipe":
            raise TrainingError(f"the channel {name!r} is in mode Pipe; expected File or FastFile")


def _refuse_many_hosts(folders: Folders) -> None:
    path = folders.config / "resourceconfig.json"
    hosts = (_json(path) if path.exists() else {}).get("hosts") or []
    if len(hosts) > 1:
        raise TrainingError(
            f"{len(hosts)} instances were started; expected InstanceCount 1. To spread a training, name a Spark "
            "cluster in the job's 'spark'"
        )
