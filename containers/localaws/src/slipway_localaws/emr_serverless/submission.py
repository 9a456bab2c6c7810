"""What a job run asks of spark-submit, as this machine's Spark can be asked for it.

https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/jobs-spark.html
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MASTER = "local[2]"
_DRIVER_VARIABLE = "spark.emr-serverless.driverEnv."
_ARCHIVES = "spark.archives"
#: What says how large EMR's workers are: here there are none.
_OF_WORKERS = re.compile(r"spark\.(?:emr-serverless|dynamicAllocation|executor)\..*")


class RefusedSubmissionError(ValueError):
    """Parameters that EMR Serverless refuses, or that the stand-in cannot carry out."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A job run's parameters.

    Args:
        entry_point: URI of the Python file.
        arguments: Its arguments.
        properties: Spark properties for this machine.
        environment: Variables of the driver.
        archives: URIs of archives, by the name of the folder that they are unpacked into.
    """

    entry_point: str
    arguments: tuple[str, ...]
    properties: Mapping[str, str]
    environment: Mapping[str, str]
    archives: Mapping[str, str]

    @property
    def options(self) -> list[str]:
        """Options of spark-submit."""
        given = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", **self.properties}
        return ["--master", MASTER, *(word for name, value in given.items() for word in ("--conf", f"{name}={value}"))]


def read_submission(driver: Mapping[str, Any]) -> Submission:
    """Read a ``jobDriver``.

    Raises:
        RefusedSubmissionError: It is none of Spark's, names a master, or has options other than ``--conf``.
    """
    submit = driver.get("sparkSubmit")
    if not submit:
        raise RefusedSubmissionError("The stand-in runs sparkSubmit alone, no hive.")
    properties = _properties(submit.get("sparkSubmitParameters") or "")
    if "spark.master" in properties:
        raise RefusedSubmissionError("spark.master cannot be set: EMR Serverless has its own.")
    archives = dict(_archive(each) for each in properties.pop(_ARCHIVES, "").split(",") if each)
    return Submission(
        entry_point=submit["entryPoint"],
        arguments=tuple(submit.get("entryPointArguments") or ()),
        properties={name: value for name, value in properties.items() if not _OF_WORKERS.fullmatch(name)},
        environment={
            name.removeprefix(_DRIVER_VARIABLE): value
            for name, value in properties.items()
            if name.startswith(_DRIVER_VARIABLE)
        },
        archives=archives,
    )


def _properties(parameters: str) -> dict[str, str]:
    try:
        words: Sequence[str] = shlex.split(parameters)
    except ValueError as error:
        raise RefusedSubmissionError(f"sparkSubmitParameters cannot be read: {error}") from error
    found = {}
    rest = iter(words)
    for word in rest:
        option, _, value = word.partition("=") if word.startswith("--conf=") else (word, "", next(rest, ""))
        name, separator, setting = value.partition("=")
        if option != "--conf" or not separator:
            raise RefusedSubmissionError(f"The stand-in knows --conf name=value alone; found {word}.")
        found[name] = setting
    return found


def _archive(text: str) -> tuple[str, str]:
    uri, separator, folder = text.partition("#")
    if not separator or not re.fullmatch(r"[\w.-]+", folder) or set(folder) == {"."}:
        raise RefusedSubmissionError(f"An archive is named as s3://…/x.tar.gz#folder; found {text}.")
    return folder, uri
