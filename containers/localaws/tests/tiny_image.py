"""Images small enough to be built inside a test: a standard-library HTTP server as a layer."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
import tarfile
import urllib.request
from dataclasses import dataclass
from typing import Any

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"

#: What it answers is told by its environment, so that one image plays all parts.
SERVER = """
import http.server, json, os, signal, sys, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    def answer(self, status, body, content_type="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer(int(os.environ.get("PING_STATUS", "200")), b"")
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if os.environ.get("CRASH_ON") and os.environ["CRASH_ON"].encode() in body:
            print("crashing", flush=True)
            os._exit(3)
        time.sleep(float(os.environ.get("SLEEP", "0")))
        status = int(os.environ.get("STATUS", "200"))
        if status != 200:
            return self.answer(status, b'{"error": "as told"}')
        answer = {
            "tag": os.environ.get("TAG"), "pid": os.getpid(), "got": body.decode("utf-8", "replace"),
            "content_type": self.headers["Content-Type"], "arguments": sys.argv[1:], "folder": os.getcwd(),
            "environment": dict(os.environ), "path": sys.path, "executable": sys.executable,
            "seen": [os.path.exists(each) for each in ("/proc/self/status", "/dev/urandom")],
        }
        self.answer(200, json.dumps(answer).encode())
    def log_message(self, *arguments):
        pass

print("serving", os.environ.get("TAG"), flush=True)
if os.environ.get("EXIT"):
    sys.exit(int(os.environ["EXIT"]))
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


@dataclass(frozen=True)
class TinyImage:
    """Blobs and manifest of an image."""

    manifest: bytes
    media_type: str
    blobs: dict[str, bytes]

    @property
    def digest(self) -> str:
        return sha256(self.manifest)


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def layer(files: dict[str, bytes | str | tuple[str, str]]) -> bytes:
    """A gzipped tar. A tuple is (kind, target): ``("symlink", …)``, ``("hardlink", …)`` or ``("folder", "")``."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o755
            if isinstance(content, tuple):
                kind, member.linkname = content
                member.type = {"symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE, "folder": tarfile.DIRTYPE}[kind]
                archive.addfile(member)
                continue
            data = content.encode() if isinstance(content, str) else content
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), 1, mtime=0)


def build(*layers: bytes, media_type: str = DOCKER_MANIFEST, **config: Any) -> TinyImage:
    """An image of these layers; without any, the server above."""
    layers = layers or (layer({"opt/app/tiny_server.py": SERVER}),)
    settings = {
        "Entrypoint": ["python3", "-m", "tiny_server"],
        "Cmd": ["serve"],
        "Env": ["PYTHONPATH=/opt/app", "FROM_IMAGE=yes", "DATA=/opt/app:/not/there"],
        "Labels": {"io.slipway.python": PYTHON},
        **config,
    }
    content = {
        "architecture": "amd64", "os": "linux", "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [sha256(gzip.decompress(each)) for each in layers]},
    }  # fmt: skip
    config_blob = json.dumps(content).encode()
    blobs = {sha256(each): each for each in (*layers, config_blob)}
    manifest = {
        "schemaVersion": 2, "mediaType": media_type,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": len(config_blob), "digest": sha256(config_blob),
        },
        "layers": [
            {"mediaType": LAYER_TYPE, "size": len(each), "digest": sha256(each)} for each in layers
        ],
    }  # fmt: skip
    return TinyImage(json.dumps(manifest).encode(), media_type, blobs)


def push(ecr: Any, image: TinyImage, repository: str, tag: str) -> str:
    """Push by the registry protocol; returns the image's URI by digest."""
    try:
        uri = ecr.create_repository(repositoryName=repository)["repository"]["repositoryUri"]
    except ecr.exceptions.RepositoryAlreadyExistsException:
        uri = ecr.describe_repositories(repositoryNames=[repository])["repositories"][0]["repositoryUri"]
    grant = ecr.get_authorization_token()["authorizationData"][0]
    base, basic = grant["proxyEndpoint"], {"Authorization": f"Basic {grant['authorizationToken']}"}
    for digest, blob in image.blobs.items():
        start = urllib.request.Request(f"{base}/v2/{repository}/blobs/uploads/", method="POST", data=b"", headers=basic)
        with urllib.request.urlopen(start) as answer:
            location = answer.headers["Location"]
        put = urllib.request.Request(f"{location}?digest={digest}", method="PUT", data=blob, headers=basic)
        urllib.request.urlopen(put).close()
    put = urllib.request.Request(
        f"{base}/v2/{repository}/manifests/{tag}", method="PUT", data=image.manifest,
        headers={**basic, "Content-Type": image.media_type},
    )  # fmt: skip
    urllib.request.urlopen(put).close()
    return f"{uri}@{image.digest}"
