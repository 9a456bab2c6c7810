"""Docker and buildah as a user of them would build and push a release's Dockerfile."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from bench.image_setup import PASSWORD, USER

_INSTALLS = "RUN python3 -m pip install --no-cache-dir"
_INSTALLS_WITH_CACHE = "RUN --mount=type=cache,target=/root/.cache/pip python3 -m pip install"


class Docker:
    """``docker build && docker push`` against an engine of our own.

    ``cache_from`` is the best that it can do: BuildKit, which takes from the last pushed image the layers that still
    hold (their keys are in it: https://docs.docker.com/build/cache/backends/inline/), and pip's downloads kept on the
    worker (https://docs.docker.com/build/cache/optimize/#use-cache-mounts).
    """

    def __init__(self, address: str, host: str, folder: Path, *, cache_from: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = "docker, cache-from" if cache_from else "docker"
        self._cache_from = cache_from
        self._environment = {**os.environ, "DOCKER_BUILDKIT": "1" if cache_from else "0"}
        client = buildkit_client() if cache_from else "docker"
        self._command = [client, "--host", address, "--config", str(folder)]
        self.last: str | None = None
        self._run("login", "--username", USER, "--password-stdin", host, text=PASSWORD)

    def version(self) -> str:
        version = self._run("version", "--format", "{{.Server.Version}}").strip()
        return f"{version} with BuildKit" if self._cache_from else version

    def import_base(self, rootfs: Path, name: str) -> None:
        tar = subprocess.Popen(["tar", "-C", str(rootfs), "-c", "."], stdout=subprocess.PIPE)
        certificates = "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt"
        subprocess.run([*self._command, "import", "--change", certificates, "-", name], stdin=tar.stdout, check=True)
        self._run("push", "--quiet", name)

    def forget(self) -> None:
        """Become a fresh worker."""
        self._run("system", "prune", "--all", "--force")
        self._run("builder", "prune", "--all", "--force")

    def build_and_push(self, context: Path, name: str, base: str) -> None:
        options = []
        if self._cache_from:
            options = ["--build-arg=BUILDKIT_INLINE_CACHE=1", *(["--cache-from", self.last] if self.last else [])]
            _keep_downloads(context / "Dockerfile")
        self._run("build", "--quiet", f"--build-arg=BASE={base}", *options, "--tag", name, str(context))
        self._run("push", "--quiet", name)
        self.last = name

    def _run(self, *arguments: str, text: str | None = None) -> str:
        done = subprocess.run(
            [*self._command, *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            env=self._environment,
        )
        if done.returncode:
            raise RuntimeError(f"docker {arguments[0]}: {done.stderr[-2000:]}")
        return done.stdout


def buildkit_client() -> str:
    """Find a client that can ask the engine for BuildKit: one with its buildx plugin, or one from before 23.0.

    Raises:
        RuntimeError: there is none.
    """
    for folder in os.get_exec_path():
        client = shutil.which("docker", path=folder)
        if client is None:
            continue
        said = subprocess.run([client, "--version"], capture_output=True, text=True, check=False).stdout
        major = re.search(r"version (\d+)", said)
        plugin = subprocess.run([client, "buildx", "version"], capture_output=True, check=False)
        if plugin.returncode == 0 or (major and int(major[1]) < 23):
            return client
    raise RuntimeError("no docker client here can ask for BuildKit: install docker-buildx, or leave docker-cache out")


def _keep_downloads(dockerfile: Path) -> None:
    text = dockerfile.read_text()
    if _INSTALLS not in text:
        raise RuntimeError(f"{dockerfile} installs otherwise than by {_INSTALLS!r}")
    dockerfile.write_text(text.replace(_INSTALLS, _INSTALLS_WITH_CACHE))


class Buildah:
    """``buildah build && buildah push``, with its layer cache, in the format that SageMaker takes."""

    name = "buildah"
    last: str | None = None

    def __init__(self, host: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._store = ["buildah", "--root", f"{folder}/root", "--runroot", f"{folder}/run"]
        self._auth = folder / "auth.json"
        self._access = ["--tls-verify=false", "--authfile", str(self._auth)]
        self._run("login", *self._access, "--username", USER, "--password", PASSWORD, host)

    def version(self) -> str:
        return str(json.loads(self._run("version", "--json"))["version"])

    def forget(self) -> None:
        """Become a fresh worker."""
        self._run("rm", "--all")
        self._run("rmi", "--all", "--force")

    def build_and_push(self, context: Path, name: str, base: str) -> None:
        shape = ["--format", "docker", "--layers", "--isolation", "chroot", "--network", "host"]
        self._run("build", "--quiet", *shape, *self._access, "--build-arg", f"BASE={base}", "--tag", name, str(context))
        self._run("push", "--quiet", "--format", "v2s2", *self._access, name, f"docker://{name}")

    def _run(self, *arguments: str) -> str:
        done = subprocess.run([*self._store, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"buildah {arguments[0]}: {done.stderr[-2000:]}")
        return done.stdout
