"""A small but real image registry on loopback, with faults on demand, and hand-made wheels: no network needed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.stub import Stubber

from slipway.artifacts.lock import DependencyLock
from slipway.images.auth import Authenticator
from slipway.images.registry import RegistryClient
from slipway.images.transport import Patience

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient

    from slipway.images.ecr import EcrClients

USER, PASSWORD = "AWS", "open-sesame"
LARGE = 50 << 20  # bytes
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class LargeBody(bytes):
    """The hex digest of a body too large to keep."""


def sha256(data: bytes) -> str:
    if isinstance(data, LargeBody):
        return f"sha256:{data.decode()}"
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Fault:
    """What goes wrong: ``kind`` is a status, ``drop`` (hang up), ``garble`` or ``cut`` (a wrong or short body).

    ``stall`` reads the body a second late; ``late`` faults come after the request has been carried out.
    """

    method: str
    path: str
    kind: int | str
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    late: bool = False


@dataclass
class Registry:
    """State of the registry; tests look into it and change it."""

    url: str = ""
    blobs: dict[str, dict[str, bytes]] = field(default_factory=dict)
    manifests: dict[str, dict[str, tuple[bytes, str]]] = field(default_factory=dict)
    repositories: set[str] | None = None  # None: any
    immutable: bool = False
    mounts: bool = True
    auth: str = "none"  # none, basic, bearer
    realm: str = ""  # of the bearer challenge; by default our own /token
    tokens_given: int = 0
    tokens_valid: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    log: list[tuple[str, str, int]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def client(self, auth: Authenticator | None = None, **options: object) -> RegistryClient:
        """A client that does not really wait between tries."""
        patience = Patience(attempts=4, first=0.01, longest=1.0, connect_timeout=5, read_timeout=5)
        return RegistryClient(self.url, auth, patience=patience, sleep=lambda _: None, **options)  # type: ignore[arg-type]

    def fail(self, method: str, path: str, kind: int | str, times: int = 1, **headers: str) -> None:
        self.faults.append(Fault(method, path, kind, times, headers))

    def lose_answer(self, method: str, path: str, kind: int | str) -> None:
        """Carry out the next such request and answer with a status in place of what there is to say, or hang up."""
        self.faults.append(Fault(method, path, kind, late=True))

    def asked(self, method: str, path: str = "") -> list[str]:
        return [seen for verb, seen, _ in self.log if verb == method and re.search(path, seen)]

    def bytes_received(self) -> int:
        return sum(size for verb, path, size in self.log if verb == "PUT" and "/blobs/" in path)

    def put_image(self, repository: str, tag: str, manifest: dict, *blobs: bytes) -> str:  # type: ignore[type-arg]
        for blob in blobs:
            self.blobs.setdefault(repository, {})[sha256(blob)] = blob
        content = json.dumps(manifest).encode()
        for target in (tag, sha256(content)):
            self.manifests.setdefault(repository, {})[target] = (content, manifest["mediaType"])
        return sha256(content)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: Registry
    lost: int | str | None = None

    def log_message(self, *args: object) -> None: ...

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        if self.lost == "drop":
            self._hang_up()
            return
        status, self.lost = int(self.lost or status), None
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _error(self, status: int, code: str) -> None:
        self._answer(status, json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode())

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        parts = urlsplit(self.path)
        if self._fault(length):
            return
        body = self._body(length)
        self.registry.log.append((self.command, self.path, length))
        if parts.path == "/token":
            self._token(parse_qs(parts.query))
            return
        if not self._known():
            return
        match = re.fullmatch(r"/v2/(.+)/(blobs|manifests)/(.+)", parts.path)
        if not match:
            self._error(404, "NOT_FOUND")
            return
        repository, kind, name = match.groups()
        if self.registry.repositories is not None and repository not in self.registry.repositories:
            self._error(404, "NAME_UNKNOWN")
        elif kind == "manifests":
            self._manifest(repository, name, body)
        elif name.startswith("uploads/"):
            self._upload(repository, parse_qs(parts.query), body)
        else:
            self._blob(repository, name)

    def _body(self, length: int) -> bytes:
        """Read the request's body; of a large one only the digest is kept, as its content."""
        if length <= LARGE:
            return self.rfile.read(length)
        hasher = hashlib.sha256()
        while length and (chunk := self.rfile.read(min(length, 1 << 20))):
            hasher.update(chunk)
            length -= len(chunk)
        return LargeBody(hasher.hexdigest().encode())

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = _handle  # noqa: N815

    def _fault(self, length: int) -> bool:
        for fault in self.registry.faults:
            if fault.times and fault.method == self.command and re.search(fault.path, self.path):
                fault.times -= 1
                if fault.late:
                    self.lost = fault.kind
                    return False
                if fault.kind == "stall":
                    time.sleep(1.0)
                    return False
                if fault.kind in {"garble", "cut"}:
                    self._spoil(str(fault.kind))
                    return True
                if fault.kind == "drop":
                    self.rfile.read(length // 2)
                    self._hang_up()
                    return True
                self.rfile.read(length)
                self._answer(int(fault.kind), b"fault", **fault.headers)
                return True
        return False

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _spoil(self, how: str) -> None:
        repository, digest = re.fullmatch(r"/v2/(.+)/blobs/(.+)", self.path).groups()  # type: ignore[union-attr]
        blob = self.registry.blobs[repository][digest]
        if how == "garble":
            self._answer(200, bytes([blob[0] ^ 255]) + blob[1:])
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(blob)))
        self.end_headers()
        self.wfile.write(blob[: len(blob) // 2])
        self.close_connection = True

    def _known(self) -> bool:
        registry, sent = self.registry, self.headers.get("Authorization")
        if registry.auth == "basic" and sent != BASIC:
            self._answer(401, b"who?", WWW_Authenticate='Basic realm="slipway"')
            return False
        if registry.auth == "bearer" and sent not in registry.tokens_valid:
            realm = registry.realm or f"{registry.url}/token"
            self._answer(401, b"who?", WWW_Authenticate=f'Bearer realm="{realm}",service="tests",scope="x"')
            return False
        return True

    def _token(self, query: dict[str, list[str]]) -> None:
        if query.get("service") != ["tests"] or not query["scope"][0].startswith("repository:"):
            self._answer(400)
            return
        if self.headers.get("Authorization", BASIC) != BASIC:
            self._answer(401)
            return
        self.registry.tokens_given += 1
        token = f"token-{self.registry.tokens_given}"
        self.registry.tokens_valid.add(f"Bearer {token}")
        self._answer(200, json.dumps({"token": token, "expires_in": 300}).encode())

    def _blob(self, repository: str, digest: str) -> None:
        blob = self.registry.blobs.get(repository, {}).get(digest)
        if blob is None:
            self._error(404, "BLOB_UNKNOWN")
        else:
            self._answer(200, blob)

    def _upload(self, repository: str, query: dict[str, list[str]], body: bytes) -> None:
        registry = self.registry
        if self.command == "POST":
            source = registry.blobs.get(query.get("from", [""])[0], {})
            wanted = query.get("mount", [""])[0]
            if registry.mounts and wanted in source:
                registry.blobs.setdefault(repository, {})[wanted] = source[wanted]
                self._answer(201)
            else:
                self._answer(202, Location=f"/v2/{repository}/blobs/uploads/session?_state=a%2Bb")
        elif self.command == "PUT" and query.get("_state") == ["a+b"] and sha256(body) == query["digest"][0]:
            registry.blobs.setdefault(repository, {})[sha256(body)] = body
            self._answer(201)
        else:
            self._error(400, "DIGEST_INVALID")

    def _manifest(self, repository: str, target: str, body: bytes) -> None:
        stored = self.registry.manifests.setdefault(repository, {})
        if self.command != "PUT":
            if target in stored:
                self._answer(200, stored[target][0], Content_Type=stored[target][1])
            else:
                self._error(404, "MANIFEST_UNKNOWN")
            return
        document = json.loads(body)
        needed = [document["config"]["digest"], *(layer["digest"] for layer in document["layers"])]
        if any(digest not in self.registry.blobs.get(repository, {}) for digest in needed):
            self._error(400, "MANIFEST_BLOB_UNKNOWN")
        elif self.registry.immutable and target in stored:
            self._error(400, "TAG_INVALID")
        else:
            stored[target] = stored[sha256(body)] = (body, self.headers["Content-Type"])
            self._answer(201)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up, or a connection that a fault closed: nothing to print."""


@pytest.fixture
def registry() -> Iterator[Registry]:
    yield from serve_registry()


@pytest.fixture
def other_registry() -> Iterator[Registry]:
    yield from serve_registry()


def serve_registry() -> Iterator[Registry]:
    state = Registry()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"registry": state}))
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def ecr_clients(registry: Registry, regions: list[str | None]) -> EcrClients:
    """Give clients that know nothing but a token for a registry; note the regions that they are asked for."""

    def client(region_name: str | None) -> ECRClient:
        regions.append(region_name)
        session = boto3.Session("testing", "testing", region_name="eu-central-1")
        ecr = session.client("ecr", region_name=region_name)
        grant = {"authorizationToken": BASIC.removeprefix("Basic "), "proxyEndpoint": registry.url}
        stubber = Stubber(ecr)
        for _ in range(2):
            stubber.add_response("get_authorization_token", {"authorizationData": [grant]}, {})
        stubber.activate()
        return ecr

    return client


WheelMaker = Callable[..., str]


@pytest.fixture
def make_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WheelMaker:
    """Put a wheel into an index of our own that is the only one uv sees; returns its line for a lock."""
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(index))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))

    def make(name: str, version: str = "1.0", files: dict[str, str] | None = None, tag: str = "py3-none-any") -> str:
        module = name.replace("-", "_")
        info = f"{module}-{version}.dist-info"
        content = {
            f"{module}/__init__.py": f"VERSION = {version!r}\n",
            f"{module}/tests/test_it.py": "import unittest\n",
            **(files or {}),
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
            f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {module}:main\n",
        }
        path = index / f"{module}-{version}-{tag}.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            for file, text in content.items():
                wheel.writestr(file, text)
            wheel.writestr(f"{info}/RECORD", _record(content, info))
        return f"{name}=={version} --hash={sha256(path.read_bytes())}"

    return make


def _record(content: dict[str, str], info: str) -> str:
    lines = []
    for file, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{file},sha256={digest},{len(text)}")
    return "\n".join([*lines, f"{info}/RECORD,,", ""])


@pytest.fixture
def make_lock() -> Callable[..., DependencyLock]:
    """Make a lock of the given lines for Python 3.11 or another."""

    def make(*lines: str, python: str = "3.11", platform: str = "linux/amd64") -> DependencyLock:
        text = "".join(f"{line}\n" for line in lines)
        return DependencyLock.from_text(text, key="k", python=python, platform=platform)

    return make
