"""How a container is started: arguments, environment, root file system, user."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from slipway_localaws.hosting.images import UnpackedImage
from slipway_localaws.hosting.interpreter import PYTHON_LABEL, InterpreterMissingError, lend_interpreter
from slipway_localaws.hosting.scoped_path import UnsafePathError, resolve_in

#: SageMaker starts containers with these arguments.
#: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
SERVE = "serve"
#: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-dockerfile.html
TRAIN = "train"
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Every container has a network of its own on SageMaker and listens on 8080. As processes of one host they share it,
#: so each gets its port in the variable with which SageMaker tells multi-container endpoints theirs.
#: https://docs.aws.amazon.com/sagemaker/latest/dg/multi-container-create.html
PORT_VARIABLE = "SAGEMAKER_BIND_TO_PORT"
SHIM = Path(__file__).with_name("shim.py")


class CannotStartError(RuntimeError):
    """The container cannot even be started."""


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """What the shim needs to start a container.

    Args:
        arguments: program and arguments; the program as an absolute path as seen after ``root`` is entered.
        environment: all of the container's environment.
        folder: working folder as seen after ``root`` is entered.
        root: root file system to enter; empty to stay in the host's.
        user, group: whom to become; None to stay.
        grace_seconds: between SIGTERM and SIGKILL when it is to end.
    """

    arguments: list[str]
    environment: dict[str, str]
    folder: str
    root: str
    user: int | None = None
    group: int | None = None
    grace_seconds: float = 5.0

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def plan_launch(
    image: UnpackedImage,
    environment: Mapping[str, str],
    scratch: Path,
    interpreters: Path,
    *,
    argument: str,
    command: Sequence[str] = (),
) -> LaunchSpec:
    """Decide how to start a container of an image.

    The image's own program runs in its own root file system when it is there and the host lets us enter; otherwise
    the host lends the Python that the image's label asks for, and paths in arguments and environment that exist in
    the image are pointed at its files.

    Args:
        image: the unpacked image.
        environment: the model's or the training's, which wins over the image's.
        scratch: an empty folder of this container's own.
        interpreters: where lent interpreters are kept.
        argument: what SageMaker starts it with.
        command: program and arguments in place of the image's own and the argument.

    Raises:
        CannotStartError: neither way works; the message says why.
    """
    config = image.config
    arguments = [*command] or [*config.entrypoint, *([] if config.entrypoint else config.command[:1]), argument]
    merged = {"PATH": _DEFAULT_PATH, **config.environment, **environment}
    if not arguments[0]:
        raise CannotStartError("the image has neither entrypoint nor command")
    own = _own_program(image, arguments[0], merged["PATH"])
    if own and can_enter_root():
        return _inside(image, [own, *arguments[1:]], merged)
    version = config.labels.get(PYTHON_LABEL, "")
    if version:
        return _lent(image, arguments, merged, version, scratch, interpreters)
    if own:
        raise CannotStartError("this host does not let the stand-in enter an image's root file system (chroot)")
    raise CannotStartError(
        f"{arguments[0]!r} is not in the image, and no label {PYTHON_LABEL} of the image asks for the host's Python"
    )


def _own_program(image: UnpackedImage, name: str, path: str) -> str:
    """The image's own program of that name as seen from inside; empty when it has none that could run."""
    candidates = [name] if "/" in name else [f"{folder}/{name}" for folder in path.split(":") if folder]
    if "/" in name and not name.startswith("/"):
        candidates = [f"{image.config.working_folder.rstrip('/')}/{name}"]
    for candidate in candidates:
        try:
            real = resolve_in(image.rootfs, candidate)
        except UnsafePathError:
            continue
        if real.is_file() and real.stat().st_mode & stat.S_IXUSR and _interpreter_present(image.rootfs, real):
            return candidate
    return ""


def _interpreter_present(rootfs: Path, program: Path) -> bool:
    """A script needs the interpreter of its first line in the image, too."""
    with program.open("rb") as file:
        line = file.readline(256)
    if not line.startswith(b"#!"):
        return True
    words = line[2:].decode("utf-8", "replace").split()
    if not words or not resolve_in(rootfs, words[0]).is_file():
        return False
    if Path(words[0]).name != "env":
        return True
    names = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return bool(names) and any(
        resolve_in(rootfs, f"{folder}/{names[0]}").is_file() for folder in _DEFAULT_PATH.split(":")
    )


def _inside(image: UnpackedImage, arguments: list[str], environment: dict[str, str]) -> LaunchSpec:
    for folder, mode in (("proc", 0o755), ("dev", 0o755), ("tmp", 0o1777), ("dev/shm", 0o1777)):
        place = resolve_in(image.rootfs, folder)
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(mode)
    _make_devices(resolve_in(image.rootfs, "dev"))
    user, group = _user(image.rootfs, image.config.user)
    resolve_in(image.rootfs, image.config.working_folder).mkdir(parents=True, exist_ok=True)
    return LaunchSpec(
        arguments=arguments,
        environment={"HOME": "/tmp", **environment},
        folder=image.config.working_folder,
        root=str(image.rootfs),
        user=user,
        group=group,
    )


def _make_devices(folder: Path) -> None:
    """The devices that programs expect, as far as we may make them."""
    for name, minor in (("null", 3), ("zero", 5), ("random", 8), ("urandom", 9)):
        place = folder / name
        if place.exists():
            continue
        try:
            os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, minor))
            place.chmod(0o666)
        except OSError:
            place.touch()


def _user(rootfs: Path, user: str) -> tuple[int | None, int | None]:
    """User and group id of an image's ``User`` (a name or number, with or without a group)."""
    if not user or os.geteuid() != 0:
        return None, None
    name, _, group = user.partition(":")
    passwd = resolve_in(rootfs, "/etc/passwd")
    for line in passwd.read_text(errors="replace").splitlines() if passwd.is_file() else ():
        fields = line.split(":")
        if len(fields) > 3 and name in {fields[0], fields[2]}:
            return int(fields[2]), int(group) if group.isdigit() else int(fields[3])
    if not name.isdigit():
        raise CannotStartError(f"unable to find user {name}: no matching entries in passwd file")
    return int(name), int(group) if group.isdigit() else 0


def _lent(
    image: UnpackedImage, arguments: list[str], environment: dict[str, str], version: str, scratch: Path, folder: Path
) -> LaunchSpec:
    try:
        binaries = lend_interpreter(version, folder)
    except InterpreterMissingError as error:
        raise CannotStartError(str(error)) from None
    rewritten = {name: _into(image.rootfs, value) for name, value in environment.items()}
    rewritten["PATH"] = f"{binaries}:{rewritten['PATH']}"
    home = scratch / "home"
    home.mkdir(parents=True, exist_ok=True)
    rewritten.setdefault("HOME", str(home))
    rewritten.setdefault("TMPDIR", str(home))
    working = _into(image.rootfs, image.config.working_folder)
    program = _find(arguments[0], rewritten["PATH"])
    if not program:
        raise CannotStartError(f"{arguments[0]!r} is neither in the image nor on this host")
    return LaunchSpec(
        arguments=[program, *(_into(image.rootfs, each) for each in arguments[1:])],
        environment=rewritten,
        folder=str(home) if working == "/" else working,
        root="",
    )


def _into(rootfs: Path, value: str) -> str:
    """``value`` with every absolute path that exists in the image pointed at the image's files."""
    return ":".join(_point(rootfs, part) for part in value.split(":"))


def _point(rootfs: Path, path: str) -> str:
    if not path.startswith("/") or path.strip("/") == "":
        return path
    try:
        place = resolve_in(rootfs, path)
    except UnsafePathError:
        return path
    return str(place) if place.exists() else path


def _find(name: str, path: str) -> str:
    if "/" in name:
        return name if os.access(name, os.X_OK) else ""
    for folder in path.split(":"):
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    return ""


@cache
def can_enter_root() -> bool:
    """Whether this host lets us chroot: as root, or in a user namespace of our own."""
    command = [sys.executable, "-I", "-S", str(SHIM), "--probe"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
