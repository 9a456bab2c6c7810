"""What a model asks for, read from its own files: pip requirement lines, conda dependencies, Python version.

Nothing is resolved here. Only plain package requirements pass; a model's file may not choose an index, a folder or a
repository to install from, because then the platform's owner would no longer decide where code comes from.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import Version

from slipway.artifacts.mlmodel import CONDA, PYTHON_ENV, REQUIREMENTS, MLmodel
from slipway.errors import BaseImageError, DependencyLockError

# Conda names that PyPI knows under another name.
_RENAMED = {"pytorch": "torch", "pytorch-cpu": "torch", "py-xgboost": "xgboost", "py-opencv": "opencv-python-headless"}
# Conda packages that are not Python packages: an image without conda brings its own, or does without.
_CONDA_ONLY = re.compile(
    r"^(_|r-|gcc|gxx|sysroot|cuda|cudnn|mkl$|openblas|openjdk|python_abi$|ca-certificates$|openssl$|readline$|sqlite$|zlib$"
    r"|lib(gcc|gomp|gfortran|stdcxx|blas|cblas|lapack|openblas|ffi|sndfile|uuid|xml2|png|tiff|jpeg|curl|iconv|nsl|gl))"
)
_MAX_INCLUDES = 16
MLFLOW_SKINNY = "mlflow-skinny"
_WITHOUT_PKG_RESOURCES = "2.15"  # MLflow from here on


@dataclass(frozen=True)
class ModelRequirements:
    """Requirements as a model states them.

    Attributes:
        requirements: PEP 508 lines, normalised and sorted.
        constraints: the same for ``-c`` files: versions that hold only for packages needed anyway.
        python: Python version as written, such as ``3.11.7``; None when no file says.
        notes: what was left out or changed and why, for people to read.
    """

    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    python: str | None = None
    notes: tuple[str, ...] = ()


def model_requirements(files: Mapping[str, str], mlmodel: MLmodel) -> ModelRequirements:
    """Read what a model needs from ``requirements.txt``, else from its conda file.

    Args:
        files: text of the model's environment files by path inside the model folder.
        mlmodel: the parsed MLmodel file, which says where the conda file is.

    Returns:
        The requirements, with full ``mlflow`` replaced by ``mlflow-skinny`` and ``pandas``.

    Raises:
        DependencyLockError: a line asks for an index, a folder, a repository or is not a requirement.
    """
    conda_path = mlmodel.conda if mlmodel.conda and mlmodel.conda in files else CONDA
    conda = _conda(files.get(conda_path, ""), conda_path)
    if REQUIREMENTS in files:
        stated = _read(files[REQUIREMENTS], REQUIREMENTS, files)
        stated = replace(stated, notes=stated.notes + tuple(n for n in conda.notes if "conda-only" in n))
    elif conda.requirements:
        stated = conda
    else:
        raise DependencyLockError(
            f"The model says nowhere which packages it needs: neither {REQUIREMENTS} nor {CONDA} lists any. "
            "Log it again with `pip_requirements=[...]`."
        )
    python = _python_env(files, mlmodel) or conda.python or mlmodel.python_version
    return _serving_mlflow(replace(stated, python=python), mlmodel.mlflow_version)


def choose_python(wanted: str | None, offered: Collection[str], override: str | None = None) -> str:
    """The minor Python version to serve with.

    Args:
        wanted: version that the model was saved with, such as ``3.11.7``; None when it does not say.
        offered: minor versions for which the platform has base images.
        override: the spec's ``serving.python``.

    Returns:
        A minor version out of ``offered``; the newest when the model does not say.

    Raises:
        BaseImageError: the wanted minor version is not offered.
    """
    names = sorted(offered, key=_version_key)
    if not names:
        raise BaseImageError("The platform offers no base image: platform.yaml should list some under 'base_images'.")
    asked = override or wanted
    if asked is None:
        return names[-1]
    match = re.match(r"(\d+)\.(\d+)", asked)
    minor = f"{match[1]}.{match[2]}" if match else asked
    if minor in names:
        return minor
    who = "The spec asks for" if override else "The model was saved with"
    raise BaseImageError(
        f"{who} Python {asked}, but base images are offered for {', '.join(names)} only. Add one for {minor} to "
        "'base_images' in platform.yaml, or set `serving: {python: ...}` in the spec to try another version."
    )


def parse_requirements(text: str, name: str, files: Mapping[str, str] | None = None) -> ModelRequirements:
    """Parse the text of a pip requirements file; ``-r`` and ``-c`` may name other entries of ``files``.

    Raises:
        DependencyLockError: a line that is not a plain package requirement; names file and line.
    """
    return _read(text, name, files or {})


def _read(text: str, name: str, files: Mapping[str, str], seen: tuple[str, ...] = ()) -> ModelRequirements:
    if name in seen or len(seen) > _MAX_INCLUDES:
        raise DependencyLockError(f"{name} includes itself: {' → '.join((*seen, name))}.")
    wanted: set[str] = set()
    constraints: set[str] = set()
    for number, line in _logical_lines(text):
        where = f"{name}, line {number}"
        option, value = _include(line)
        if option is None:
            wanted.add(_requirement(line, where))
            continue
        if value not in files:
            raise DependencyLockError(f"{where} includes {value!r}, which is not among the model's files.")
        inner = _read(files[value], value, files, (*seen, name))
        (wanted if option == "r" else constraints).update(inner.requirements)
        constraints.update(inner.constraints)
    return ModelRequirements(tuple(sorted(wanted)), tuple(sorted(constraints)))


def _logical_lines(text: str) -> Iterable[tuple[int, str]]:
    held, start = "", 0
    for number, raw in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        start = start or number
        if raw.rstrip().endswith("\\"):
            held += line.removesuffix("\\").strip() + " "
            continue
        if full := (held + line).strip():
            yield start, full
        held, start = "", 0
    if held.strip():
        yield start, held.strip()


def _include(line: str) -> tuple[str | None, str]:
    match = re.match(r"(?:-(r|c)\s*|--(requirement|constraint)(?:\s+|=))(\S.*)$", line)
    if not match:
        return None, ""
    return (match[1] or match[2][0]), match[3].strip().removeprefix("./")


_REFUSED = (
    (
        re.compile(r"^(-i\b|--index-url|--extra-index-url|-f\b|--find-links|--no-index|--trusted-host)"),
        "chooses a package index; set it for the worker instead (UV_INDEX_URL) and log the model without that line",
    ),
    (
        re.compile(r"^(-e\b|--editable)"),
        "is an editable install; build a wheel, publish it to your index and require it by name",
    ),
    (re.compile(r"^-"), "is a pip option that Slipway does not take"),
    (
        re.compile(r"(^|@\s*|\s)(git|hg|svn|bzr)\+", re.IGNORECASE),
        "installs from a repository; publish a wheel to your index and require it by name",
    ),
    (
        re.compile(r"(^|@\s*)(https?|ftp|file|s3):", re.IGNORECASE),
        "installs from a URL; publish the package to your index and require it by name",
    ),
    (
        re.compile(r"^([./~\\]|[a-zA-Z]:\\)|^[^\[;<>=!~ ]*[/\\]|\.(whl|tar\.gz|zip)$"),
        "installs from a local path; publish the package to your index, or log it with `code_paths`",
    ),
)


def _requirement(line: str, where: str) -> str:
    bare = re.sub(r"\s+--hash[= ]\S+", "", line).strip()
    for pattern, reason in _REFUSED:
        if pattern.search(bare):
            raise DependencyLockError(f"{where}: {_hidden(bare)!r} {reason}.")
    try:
        requirement = Requirement(bare)
        requirement.name = canonicalize_name(requirement.name, validate=True)
    except (InvalidRequirement, InvalidName) as error:
        raise DependencyLockError(f"{where}: {bare!r} is not a package requirement: {error}") from error
    return str(requirement)


def _hidden(line: str) -> str:
    return re.sub(r"://[^/@\s]*@", "://***@", line)


def _conda(text: str, name: str) -> ModelRequirements:
    document = _yaml_mapping(text, name)
    wanted: list[str] = []
    notes: list[str] = []
    python: str | None = None
    for entry in document.get("dependencies") or []:
        if isinstance(entry, Mapping):
            lines = [str(line) for line in entry.get("pip") or []]
            wanted.extend(_read("\n".join(lines), f"pip section of {name}", {}).requirements)
            continue
        package, version = _conda_entry(str(entry), name)
        if package == "python":
            python = re.sub(r"^[=~><!]+|\.\*$", "", version.split(",")[0]) or None
        elif package in {"pip", "setuptools", "wheel"}:
            continue
        elif _CONDA_ONLY.search(package):
            notes.append(f"conda-only dependency {str(entry)!r} of {name} is left out: the base image has to supply it")
        else:
            wanted.append(_requirement(_RENAMED.get(package, package) + version, name))
            notes.append(f"conda dependency {str(entry)!r} of {name} is taken from the package index instead")
    return ModelRequirements(tuple(sorted(set(wanted))), python=python, notes=tuple(notes))


def _conda_entry(entry: str, name: str) -> tuple[str, str]:
    """Split ``channel::name=1.2=build`` into the name and a PEP 440 specifier (conda's ``=1.2`` means ``1.2.*``)."""
    match = re.match(r"^(?:[\w\-./]+::)?([A-Za-z0-9_.\-]+)\s*(.*)$", entry.strip())
    if not match:
        raise DependencyLockError(f"{name}: cannot read the conda dependency {entry!r}.")
    package, version = match[1].lower(), match[2].strip()
    if version.startswith("=") and not version.startswith("=="):
        exact = version[1:].split("=")[0].strip()
        version = f"=={exact}" if exact.endswith("*") else f"=={exact}.*"
    elif version and version[0].isdigit():
        version = f"=={version.split()[0]}"
    return package, version


def _python_env(files: Mapping[str, str], mlmodel: MLmodel) -> str | None:
    path = mlmodel.virtualenv if mlmodel.virtualenv and mlmodel.virtualenv in files else PYTHON_ENV
    found = _yaml_mapping(files.get(path, ""), path).get("python")
    return None if found is None else str(found)


def _yaml_mapping(text: str, name: str) -> Mapping[str, Any]:
    try:
        # Every scalar as text: `python: 3.10` must not become the number 3.1.
        document = yaml.load(text, Loader=yaml.BaseLoader) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DependencyLockError(f"{name} cannot be read as YAML: {error}") from error
    if not isinstance(document, Mapping):
        raise DependencyLockError(f"{name} should hold a mapping, found {type(document).__name__}.")
    return document


def _serving_mlflow(stated: ModelRequirements, saved_with: str | None) -> ModelRequirements:
    """Put ``mlflow-skinny`` and ``pandas`` for ``mlflow``: serving needs only ``mlflow.pyfunc``."""
    kept: set[str] = set()
    notes = list(stated.notes)
    for line in stated.requirements:
        requirement = Requirement(line)
        if requirement.name not in {"mlflow", "mlflow-skinny"}:
            kept.add(line)
            continue
        if requirement.extras:
            notes.append(f"extras {sorted(requirement.extras)} of mlflow are left out: serving does not need them")
        if not requirement.specifier and saved_with:
            requirement.specifier &= f"=={saved_with}"
        requirement.name, requirement.extras = MLFLOW_SKINNY, set()
        kept |= {str(requirement), "pandas"}
        if str(requirement) != line:
            notes.append(f"{line!r} became {str(requirement)!r} and 'pandas': serving needs only mlflow.pyfunc")
        if _is_before(requirement, _WITHOUT_PKG_RESOURCES):
            kept.add("setuptools<81")
            notes.append("'setuptools<81' was added: this MLflow imports pkg_resources, which later ones do not have")
    return replace(stated, requirements=tuple(sorted(kept)), notes=tuple(notes))


def _is_before(requirement: Requirement, version: str) -> bool:
    exact = [clause.version for clause in requirement.specifier if clause.operator == "=="]
    return any(Version(found.removesuffix(".*")) < Version(version) for found in exact)


def _version_key(minor: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", minor))
