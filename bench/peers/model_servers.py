"""Model servers, each from its own environment: ours, MLflow's, that behind nginx and gunicorn, MLServer, BentoML."""

from __future__ import annotations

import json
import os
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

JSON, CSV = "application/json", "text/csv"


@dataclass(frozen=True)
class Launch:
    """How to start a server and how to ask it."""

    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    ping: str = "/ping"
    path: str = "/invocations"


class ModelServer(ABC):
    """One system.

    Args:
        environments: folder that holds a virtual environment for each ``environment`` named here.
        workers: processes that score.
    """

    name = ""
    environment = ""
    requirements: tuple[str, ...] = ()
    package = ""
    forms: tuple[str, ...] = (JSON, CSV)

    def __init__(self, environments: Path, workers: int) -> None:
        self.home = environments / self.environment
        self.workers = workers

    def program(self, name: str) -> str:
        return str(self.home / "bin" / name)

    def absent(self) -> str:
        """Say why the system cannot run here; empty when it can."""
        return ""

    @abstractmethod
    def launch(self, model: Path, port: int, folder: Path) -> Launch:
        """How to start it on a port with a model, with files of its own in the folder."""

    def body(self, rows: list[list[float]], columns: list[str], form: str) -> bytes:
        """The request for rows, in MLflow's forms unless the system has its own."""
        if form == CSV:
            return "\n".join([",".join(columns), *(",".join(map(repr, row)) for row in rows), ""]).encode()
        return json.dumps({"dataframe_split": {"columns": columns, "data": rows}}).encode()

    def predictions(self, answer: bytes) -> list[float]:
        found: list[float] = json.loads(answer)["predictions"]
        return found


class Slipway(ModelServer):
    """Ours, in an environment as a release image has it."""

    name = "slipway"
    environment = "slipway"
    package = "slipway-serving"

    def launch(self, model: Path, port: int, folder: Path) -> Launch:
        environment = {
            "SLIPWAY_MODEL_DIR": str(model),
            "SAGEMAKER_BIND_TO_PORT": str(port),
            "SLIPWAY_BIND_HOST": "127.0.0.1",
            "MODEL_SERVER_WORKERS": str(self.workers),
        }
        return Launch([self.program("python"), "-m", "slipway_serving", "serve"], environment)


class SlipwayPyfunc(Slipway):
    """Ours with the engine that does what MLflow does: what the server itself is worth."""

    name = "slipway, pyfunc engine"


class MlflowServe(ModelServer):
    """``mlflow models serve``."""

    name = "mlflow models serve"
    environment = "mlflow"
    package = "mlflow"

    def launch(self, model: Path, port: int, folder: Path) -> Launch:
        command = [self.program("mlflow"), "models", "serve", "-m", str(model), "-p", str(port), "-h", "127.0.0.1"]
        command += ["--env-manager", "local", "-w", str(self.workers)]
        return Launch(command, {"PATH": f"{self.home}/bin:{os.environ['PATH']}"})


NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log; worker_processes 1; user {user};
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; client_max_body_size 25m;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream app {{ server unix:{folder}/app.sock; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


class NginxGunicorn(ModelServer):
    """MLflow's scoring application under gunicorn behind nginx, as MLflow's own SageMaker image runs it."""

    name = "nginx + gunicorn + MLflow"
    environment = "mlflow"
    package = "gunicorn"

    def absent(self) -> str:
        return "" if shutil.which("nginx") else "nginx is not installed"

    def launch(self, model: Path, port: int, folder: Path) -> Launch:
        import getpass

        config = folder / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, port=port, user=getpass.getuser()))
        gunicorn = [self.program("gunicorn"), "-k", "uvicorn_worker.UvicornWorker", "-w", str(self.workers)]
        gunicorn += ["-b", f"unix:{folder}/app.sock", "mlflow.pyfunc.scoring_server.app:app"]
        script = folder / "both.py"
        script.write_text(
            "import subprocess, sys, signal\n"
            f"parts = [subprocess.Popen({gunicorn!r}), subprocess.Popen(['nginx', '-c', {str(config)!r}])]\n"
            "signal.signal(signal.SIGTERM, lambda *_: [part.terminate() for part in parts])\n"
            "[part.wait() for part in parts]\n"
        )
        return Launch([sys.executable, str(script)], {"__pyfunc_model_path__": str(model)})


class MLServer(ModelServer):
    """Seldon's MLServer with its MLflow runtime."""

    name = "MLServer"
    environment = "mlserver"
    package = "mlserver"

    def launch(self, model: Path, port: int, folder: Path) -> Launch:
        settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
        settings["parallel_workers"] = 0 if self.workers == 1 else self.workers
        (folder / "settings.json").write_text(json.dumps(settings))
        implementation = {"implementation": "mlserver_mlflow.MLflowRuntime", "parameters": {"uri": str(model)}}
        (folder / "model-settings.json").write_text(json.dumps({"name": "model", **implementation}))
        return Launch([self.program("mlserver"), "start", str(folder)], ping="/v2/models/model/ready")


BENTO = """
import bentoml, cloudpickle, numpy as np


@bentoml.service(workers={workers}, metrics={{"enabled": False}}, logging={{"access": {{"enabled": False}}}})
class Model:
    def __init__(self):
        self.model = cloudpickle.load(open({model!r} + "/model.pkl", "rb"))

    @bentoml.api(route="/invocations")
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.model.predict(rows)
"""


class BentoML(ModelServer):
    """BentoML in its fastest plain form: arrays in and out, scikit-learn called directly."""

    name = "BentoML"
    environment = "bentoml"
    package = "bentoml"
    forms = (JSON,)

    def launch(self, model: Path, port: int, folder: Path) -> Launch:
        (folder / "service.py").write_text(BENTO.format(model=str(model), workers=self.workers))
        command = [self.program("bentoml"), "serve", "service:Model", "--port", str(port), "--host", "127.0.0.1"]
        command += ["--working-dir", str(folder)]
        environment = {"PATH": f"{self.home}/bin:{os.environ['PATH']}", "BENTOML_DO_NOT_TRACK": "true"}
        return Launch(command, environment, ping="/readyz")

    def body(self, rows: list[list[float]], columns: list[str], form: str) -> bytes:
        return json.dumps({"rows": rows}).encode()

    def predictions(self, answer: bytes) -> list[float]:
        found: list[float] = json.loads(answer)
        return found


SYSTEMS: tuple[type[ModelServer], ...] = (Slipway, SlipwayPyfunc, MlflowServe, NginxGunicorn, MLServer, BentoML)
