"""Docker and buildah as a user of them would build and push a release's Dockerfile."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from bench.image_setup import PASSWORD, USER


class Docker:
    """``docker build && docker push`` against an engine of our own.

    ``cache_from`` is the best that a fresh worker can do: it pulls the last release first and builds on its layers.
    """

    def __init__(self, address: str, host: str, folder: Path, *, cache_from: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = "docker, cache-from" if cache_from else "docker"
        self._cache_from = cache_from
        self._command = ["docker", "--host", address, "--config", str(folder)]
        self.last: str | None = None
        self._run("login", "--username", USER, "--password-stdin", host, text=PASSWORD)

    def version(self) -> str:
        return self._run("version", "--format", "{{.Server.Version}}").strip()

    def import_base(self, rootfs: Path, name: str) -> None:
        tar = subprocess.Popen(["tar", "-C", str(rootfs), "-c", "."], stdout=subprocess.PIPE)
        certificates = "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt"
        subprocess.run([*self._command, "import", "--change", certificates, "-", name], stdin=tar.stdout, check=True)
        self._run("push", "--quiet", name)

    def forget(self) -> None:
        """Become a fresh worker."""
        self._run("system", "prune", "--all", "--force")

    def build_and_push(self, context: Path, name: str, base: str) -> None:
        options = []
        if self._cache_from and self.last:
            self._run("pull", "--quiet", self.last)
            options = ["--cache-from", self.last]
        self._run("build", "--quiet", f"--build-arg=BASE={base}", *options, "--tag", name, str(context))
        self._run("push", "--quiet", name)
        self.last = name

    def _run(self, *arguments: str, text: str | None = None) -> str:
        done = subprocess.run([*self._command, *arguments], input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"docker {arguments[0]}: {done.stderr[-2000:]}")
        return done.stdout


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
