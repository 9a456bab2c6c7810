"""Spark on this machine as a cluster has it: servers in Java processes of their own, from pyspark's own jars."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pyspark

from slipway_trainer.spark.java_home import find_java_home

HOST = "127.0.0.1"
SPARK_HOME = Path(pyspark.__file__).parent
_PACKAGE = "org.apache.spark.deploy"
_UP_SECONDS = 90.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@dataclass
class Servers:
    """Java processes, each started and stopped by itself.

    Args:
        folder: For logs, and for what they unpack.
        python_path: Where their Python workers look for modules first.
    """

    folder: Path
    python_path: str = ""
    port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    memory: ClassVar[str] = "300m"

    def stop(self, *names: str) -> None:
        for name in names or tuple(self.processes):
            process = self.processes.pop(name, None)
            if process:
                process.kill()
                process.wait()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def _start(self, name: str, command: list[str], words: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        around = {
            "JAVA_HOME": str(find_java_home(self.folder)),
            "SPARK_HOME": str(SPARK_HOME),
            "SPARK_LOCAL_IP": HOST,
            "PYSPARK_PYTHON": sys.executable,
            "PYTHONPATH": self.python_path,
            "SPARK_DAEMON_MEMORY": self.memory,
            "SPARK_MASTER_OPTS": "-Dspark.master.rest.enabled=false",  # it would take a port of its own
        }
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [str(SPARK_HOME / "bin" / command[0]), *command[1:]],
                env={**os.environ, **around},
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_for(name, words)

    def _wait_for(self, name: str, words: str) -> None:
        deadline = time.monotonic() + _UP_SECONDS
        while words not in self.log(name):
            if self.processes[name].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Spark's {name} does not start: {self.log(name)[-3000:]}")
            time.sleep(0.2)


class Standalone(Servers):
    """A master with a worker."""

    @property
    def master(self) -> str:
        return f"spark://{HOST}:{self.port}"

    def start(self) -> None:
        listen = ["--host", HOST, "--webui-port", "0"]
        master = ["spark-class", "org.apache.spark.deploy.master.Master", *listen, "--port", str(self.port)]
        self._start("master", master, "I have been elected leader")
        size = ["--work-dir", str(self.folder / "work"), "--cores", "2", "--memory", "1g"]
        worker = ["spark-class", "org.apache.spark.deploy.worker.Worker", *listen, *size, self.master]
        self._start("worker", worker, "Successfully registered with master")


class ConnectServer(Servers):
    """A server of Spark Connect, which runs Spark in its own process."""

    memory = "1g"

    @property
    def remote(self) -> str:
        return f"sc://{HOST}:{self.port}"

    def start(self) -> None:
        settings = {
            "spark.connect.grpc.binding.address": HOST,
            "spark.connect.grpc.binding.port": str(self.port),
            "spark.driver.host": HOST,
            "spark.driver.bindAddress": HOST,
            "spark.ui.enabled": "false",
        }
        words = [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
        kind = "org.apache.spark.sql.connect.service.SparkConnectServer"
        command = ["spark-submit", "--class", kind, "--master", "local[2]", *words]
        self._start("connect", command, "Spark Connect server started")
