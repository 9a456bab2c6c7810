"""Packages as source alone, and a backend that builds them, in the index of `make_wheel`: no network needed."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

# Builds a wheel from the files below src/, at the time of day that it is, as backends do.
BACKEND = """
import base64, hashlib, json, os, zipfile
from pathlib import Path

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    said = json.loads(Path("package.json").read_text())
    info = f"{said['name']}-{said['version']}.dist-info"
    content = {path.relative_to("src").as_posix(): path.read_text() for path in Path("src").rglob("*.py")}
    content[f"{info}/METADATA"] = f"Metadata-Version: 2.1\\nName: {said['name']}\\nVersion: {said['version']}\\n"
    tags = f"Root-Is-Purelib: {said['pure']}\\nTag: {said['tag']}\\n"
    content[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\\nGenerator: tiny\\n{tags}"
    content[f"{info}/entry_points.txt"] = f"[console_scripts]\\n{said['name']} = {said['name']}:main\\n"
    record = ""
    for file, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{file},sha256={digest},{len(text)}\\n"
    name = f"{said['name']}-{said['version']}-{said['tag']}.whl"
    with zipfile.ZipFile(Path(wheel_directory) / name, "w") as wheel:
        for file, text in {**content, f"{info}/RECORD": record + f"{info}/RECORD,,\\n"}.items():
            wheel.writestr(file, text)
    return name
"""


def make_sdist(
    index: Path, name: str, *, tag: str = "py3-none-any", pure: bool = True, body: str = "VALUE = 1\n"
) -> str:
    """Put a source distribution into the index; returns its line for a lock."""
    files = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        "pyproject.toml": '[build-system]\nrequires = ["tiny"]\nbuild-backend = "tiny"\n',
        "package.json": json.dumps({"name": name, "version": "1.0", "tag": tag, "pure": str(pure).lower()}),
        f"src/{name}/__init__.py": body,
        f"src/{name}/more.py": "def main(): ...\n",
    }
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for file, text in files.items():
            entry = tarfile.TarInfo(f"{name}-1.0/{file}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    path = index / f"{name}-1.0.tar.gz"
    path.write_bytes(content.getvalue())
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(content.getvalue()).hexdigest()}"
