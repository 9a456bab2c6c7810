"""How the content of an image is run.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import pytest
import tiny_image
from standin import ROLE, StandIn, variant, wait_for, wait_status

from slipway_localaws.hosting.images import ImageConfig, UnpackedImage
from slipway_localaws.hosting.interpreter import PYTHON_LABEL, InterpreterMissingError, lend_interpreter
from slipway_localaws.hosting.launch_spec import SERVE, CannotStartError, can_enter_root, plan_launch

needs_chroot = pytest.mark.skipif(not can_enter_root(), reason="chroot is not possible here")


def image_of(rootfs: Path, files: dict[str, str], **config: Any) -> UnpackedImage:
    for name, content in files.items():
        path = rootfs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o755)
    return UnpackedImage("sha256:" + "0" * 64, rootfs, ImageConfig(**config))


def plan(image: UnpackedImage, tmp_path: Path, **environment: str) -> Any:
    return plan_launch(image, environment, tmp_path / "scratch", tmp_path / "interpreters", argument=SERVE)


def test_an_empty_base_borrows_the_hosts_python(tmp_path: Path) -> None:
    image = image_of(
        tmp_path / "rootfs", {"opt/app/server.py": "", "opt/deps/x.py": ""},
        entrypoint=("python3", "-m", "server"), command=("ignored",), labels={PYTHON_LABEL: tiny_image.PYTHON},
        environment={"PYTHONPATH": "/opt/app:/opt/deps:/not/there", "PATH": "/opt/bin:/usr/bin", "PLAIN": "opt/app"},
    )  # fmt: skip
    spec = plan(image, tmp_path, MODEL="/opt/app")
    rootfs = tmp_path / "rootfs"
    assert spec.arguments == [
        str(tmp_path / f"interpreters/python{tiny_image.PYTHON}/bin/python3"),
        "-m",
        "server",
        "serve",
    ]
    assert spec.root == ""
    assert spec.environment["PYTHONPATH"] == f"{rootfs}/opt/app:{rootfs}/opt/deps:/not/there"
    assert spec.environment["MODEL"] == f"{rootfs}/opt/app"
    assert spec.environment["PLAIN"] == "opt/app"


def test_a_lent_interpreter_brings_no_packages(tmp_path: Path) -> None:
    python = lend_interpreter(tiny_image.PYTHON, tmp_path) / "python3"
    program = "import sys, json; print(json.dumps(sys.path))"
    answer = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True, env={}, cwd=tmp_path)
    places = [place for place in json.loads(answer.stdout) if place.endswith(("site-packages", "dist-packages"))]
    assert places == [str(tmp_path / f"python{tiny_image.PYTHON}/lib/python{tiny_image.PYTHON}/site-packages")]
    failed = subprocess.run([python, "-c", "import moto"], capture_output=True, text=True, check=False, env={})
    assert "ModuleNotFoundError" in failed.stderr


@pytest.mark.parametrize("version", ["3.99", "2", "../../evil", "3.11; rm"])
def test_versions_that_nobody_has(tmp_path: Path, version: str) -> None:
    with pytest.raises(InterpreterMissingError):
        lend_interpreter(version, tmp_path)


@needs_chroot
def test_a_program_of_the_images_own_runs_in_its_root(tmp_path: Path) -> None:
    image = image_of(
        tmp_path / "rootfs", {"usr/local/bin/serve-it": "\x7fELF", "etc/passwd": "app:x:1001:1002::/:/bin/sh\n"},
        entrypoint=("serve-it",), environment={"PATH": "/usr/local/bin"}, user="app", working_folder="/srv",
    )  # fmt: skip
    spec = plan(image, tmp_path)
    assert spec.arguments == ["/usr/local/bin/serve-it", "serve"]
    assert (spec.root, spec.folder) == (str(tmp_path / "rootfs"), "/srv")
    if os.geteuid() == 0:
        assert (spec.user, spec.group) == (1001, 1002)
    assert spec.environment["PATH"] == "/usr/local/bin", "seen from inside"


def test_images_that_cannot_run_say_why(tmp_path: Path) -> None:
    with pytest.raises(CannotStartError, match=r"'python3' is not in the image, and no label io\.slipway\.python"):
        plan(image_of(tmp_path / "a", {}, entrypoint=("python3",)), tmp_path)
    script = image_of(tmp_path / "b", {"run": "#!/usr/bin/no-such-interpreter\n"}, entrypoint=("/run",))
    with pytest.raises(CannotStartError, match="is not in the image"):
        plan(script, tmp_path)


# For real


def serve_one(stand_in: StandIn, name: str, image: str, container: dict[str, Any] | None = None) -> dict[str, Any]:
    """Host a model and return what its server says of itself."""
    sagemaker = stand_in.client("sagemaker")
    sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": image, **(container or {})}
    )
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant("main", name)])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    described = wait_status(sagemaker, name, "InService", "Failed", seconds=60)
    assert described["EndpointStatus"] == "InService", described.get("FailureReason")
    answer = stand_in.client("sagemaker-runtime").invoke_endpoint(EndpointName=name, Body=b"x")
    return dict(json.loads(answer["Body"].read()))


def python_layer() -> bytes:
    """The host's Python with what it needs, as a base image would have it: about 40 MB, made in seconds."""
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    files: dict[str, Any] = {"usr/bin/python3": base.read_bytes(), "etc/passwd": "app:x:1001:1001::/:/bin/sh\n"}
    linked = subprocess.run(["ldd", base], capture_output=True, text=True, check=True).stdout.split()
    shared = [Path(word) for word in linked if word.startswith("/")]
    extensions = [path for path in (library / "lib-dynload").glob("*.so") if not path.name.startswith("_test")]
    for extension in extensions:
        answer = subprocess.run(["ldd", extension], capture_output=True, text=True, check=True).stdout.split()
        shared += [Path(word) for word in answer if word.startswith("/")]
    for path in set(shared):
        files[str(path).lstrip("/")] = path.resolve().read_bytes()
    skipped = {"test", "site-packages", "idlelib", "tkinter", "ensurepip", "lib2to3", "config-3", "__pycache__"}
    for path in library.rglob("*"):
        parts = path.relative_to(library).parts
        if path.is_file() and not any(part.startswith(tuple(skipped)) for part in parts):
            files[f"usr/lib/{library.name}/{'/'.join(parts)}"] = path.read_bytes()
    return tiny_image.layer(files)


@pytest.mark.long
@pytest.mark.integration
@pytest.mark.skipif(os.geteuid() != 0 or not can_enter_root(), reason="needs root for chroot and another user")
@pytest.mark.skipif(shutil.which("ldd") is None, reason="ldd is not installed")
def test_an_image_with_its_own_python_runs_in_its_own_root(stand_in: StandIn, name: str) -> None:
    image = tiny_image.build(
        python_layer(), tiny_image.layer({"opt/app/tiny_server.py": tiny_image.SERVER, "srv": ("folder", "")}),
        Labels={}, User="app", WorkingDir="/srv", Env=["PYTHONPATH=/opt/app", "PATH=/usr/bin", "PYTHONHOME=/usr"],
    )  # fmt: skip
    uri = tiny_image.push(stand_in.client("ecr"), image, "slipway/complete", "v1")
    said = serve_one(stand_in, name, uri)
    assert (said["executable"], said["folder"]) == ("/usr/bin/python3", "/srv")
    assert said["environment"]["PYTHONPATH"] == "/opt/app"
    assert said["seen"] == [True, True], "/proc and /dev are there"
    status = Path(f"/proc/{said['pid']}/status").read_text()
    assert "Uid:\t1001\t1001" in status
    assert Path(f"/proc/{said['pid']}/root").resolve().name == "rootfs"


@pytest.mark.integration
def test_model_data_by_prefix_and_by_archive(stand_in: StandIn, image_uri: str, name: str) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_S3ModelDataSource.html"""
    s3, bucket = stand_in.client("s3"), name.lower()
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="model/MLmodel", Body=b"flavors: {}")
    s3.put_object(Bucket=bucket, Key="model/data/weights.bin", Body=b"12345")
    s3.put_object(Bucket=bucket, Key="model.tar.gz", Body=tiny_image.layer({"MLmodel": "archived"}))
    prefix = {"S3Uri": f"s3://{bucket}/model/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    said = serve_one(stand_in, f"{name}-prefix", image_uri, {"ModelDataSource": {"S3DataSource": prefix}})
    folder = Path(said["environment"]["SM_MODEL_DIR"])
    assert (folder / "MLmodel").read_text() == "flavors: {}"
    assert (folder / "data" / "weights.bin").read_bytes() == b"12345"
    said = serve_one(stand_in, f"{name}-tar", image_uri, {"ModelDataUrl": f"s3://{bucket}/model.tar.gz"})
    assert (Path(said["environment"]["SM_MODEL_DIR"]) / "MLmodel").read_text() == "archived"


@pytest.mark.integration
def test_model_data_that_is_not_there_fails_the_endpoint(stand_in: StandIn, image_uri: str, name: str) -> None:
    with pytest.raises(AssertionError, match="Could not find model data at s3://none/model"):
        serve_one(stand_in, name, image_uri, {"ModelDataUrl": "s3://none/model.tar.gz"})


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import os, time; os.setsid(); time.sleep(600)"])
os.environ["CHILD"] = str(child.pid)
"""


@pytest.mark.integration
def test_not_even_stubborn_grandchildren_survive(stand_in: StandIn, name: str) -> None:
    files = {"opt/app/tiny_server.py": STUBBORN + tiny_image.SERVER}
    uri = tiny_image.push(stand_in.client("ecr"), tiny_image.build(tiny_image.layer(files)), "slipway/stubborn", "v1")
    said = serve_one(stand_in, name, uri)
    pids = [said["pid"], int(said["environment"]["CHILD"])]
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    stand_in.client("sagemaker").delete_endpoint(EndpointName=name)
    started = time.monotonic()
    wait_for(lambda: not any(_running(pid) for pid in pids), 20)
    assert time.monotonic() - started < 15


def _running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.long
@pytest.mark.integration
def test_what_nobody_needs_any_more_is_thrown_away(own_stand_in: StandIn) -> None:
    own_stand_in.start()
    ecr = own_stand_in.client("ecr")
    kept, gone = tiny_image.build(User="1"), tiny_image.build(User="2")
    tiny_image.push(ecr, kept, "slipway/tidy", "kept")
    tiny_image.push(ecr, gone, "slipway/tidy", "gone")
    ecr.batch_delete_image(repositoryName="slipway/tidy", imageIds=[{"imageTag": "gone"}])
    own_stand_in.stop()
    blobs = own_stand_in.state / "registry" / "blobs" / "sha256"
    old = time.time() - 48 * 3600
    for path in blobs.glob("??/*"):
        os.utime(path, (old, old))
    own_stand_in.start()
    left = {f"sha256:{path.name}" for path in blobs.glob("??/*")}
    assert left == {*kept.blobs, kept.digest}
    tiny_image.push(own_stand_in.client("ecr"), gone, "slipway/tidy", "again")
