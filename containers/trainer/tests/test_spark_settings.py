"""What can be said of a Spark without starting one."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from slipway_trainer.job import Job
from slipway_trainer.problem import TrainingError, UnavailableError
from slipway_trainer.spark.session import is_local, place_of, start_session
from slipway_trainer.spark.shared import SharedFolder, shared_place
from slipway_trainer.spark.shared_objects import SharedObjects
from slipway_trainer.spark.watch import verdict


@pytest.mark.parametrize(
    ("configuration", "local", "place"),
    [
        ({}, True, "local[*]"),
        ({"spark.master": "local[2]"}, True, "local[2]"),
        ({"spark.master": "spark://one:7077"}, False, "spark://one:7077"),
        ({"spark.remote": "sc://one:15002/;use_ssl=true"}, False, "sc://one:15002/"),
    ],
)
def test_where_it_runs(configuration, local, place):
    assert is_local(configuration) == local
    assert place_of(configuration) == place


def test_a_server_that_is_not_there_is_told_at_once(tmp_path):
    with socket.socket() as taken:  # bound and not listening: refused, and nobody else can take it
        taken.bind(("127.0.0.1", 0))
        address = f"sc://127.0.0.1:{taken.getsockname()[1]}/;use_ssl=true"
        with pytest.raises(UnavailableError, match=r"does not start at sc://[\d.:]+/: no Spark Connect server answers"):
            start_session("x", cache_dir=tmp_path, configuration={"spark.remote": address})
    with pytest.raises(TrainingError, match="expected an address such as sc://"):
        start_session("x", cache_dir=tmp_path, configuration={"spark.remote": "spark:15002"})


def test_yarn_needs_to_be_found(tmp_path, monkeypatch):
    for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(TrainingError, match="set HADOOP_CONF_DIR or YARN_CONF_DIR"):
        start_session("x", cache_dir=tmp_path, configuration={"spark.master": "yarn"})


def test_a_shared_folder_that_is_none_is_named(tmp_path):
    for named in ("relative/folder", str(tmp_path / "missing"), "s3a://bucket/folder"):
        with pytest.raises(TrainingError, match=r"spark.slipway.folder is '.*'; expected a folder that is there"):
            SharedFolder({"spark.slipway.folder": named}, tmp_path)


def test_only_a_spark_that_was_submitted_to_shares_through_s3(tmp_path):
    job = Job("parcels", "parcels", "j", "spark", (), spark={"spark.slipway.folder": "s3://bucket/folder/"})
    assert isinstance(shared_place(replace(job, submitted=True), tmp_path), SharedObjects)
    assert isinstance(shared_place(replace(job, submitted=True, spark={}), tmp_path), SharedFolder)
    with pytest.raises(TrainingError, match="expected a folder that is there"):
        shared_place(job, tmp_path)


class Stage:
    """A pipeline that Spark writes: on this machine, or on another."""

    def __init__(self, here: bool) -> None:
        self._here = here

    def write(self) -> Stage:
        return self

    def overwrite(self) -> Stage:
        return self

    def save(self, uri: str) -> None:
        if self._here:
            folder = Path(uri.removeprefix("file://"), "metadata")
            folder.mkdir(parents=True)
            (folder / "part-00000").write_text("{}")


@pytest.mark.parametrize("named", [True, False])
def test_models_go_through_the_shared_folder_and_nothing_stays_there(tmp_path, named):
    around, workdir = tmp_path / "around", tmp_path / "workdir"
    around.mkdir()
    workdir.mkdir()
    (workdir / "model").mkdir()
    (workdir / "model" / "data").write_text("x")
    shared = SharedFolder({"spark.slipway.folder": str(around)} if named else {}, workdir)
    given = Path(shared.given(workdir / "model").removeprefix("file://"))
    assert (given / "data").read_text() == "x"
    assert given.is_relative_to(around) == named
    for name in ("first", "second"):
        shared.save(Stage(here=True), workdir / name)
        assert (workdir / name / "metadata" / "part-00000").exists()
    with pytest.raises(TrainingError, match="not there on this machine; name a folder that all machines"):
        shared.save(Stage(here=False), workdir / "third")
    shared.close()
    assert list(around.iterdir()) == []
    assert (workdir / "first").exists()


def test_only_a_cluster_without_executors_and_master_is_given_up():
    def asked() -> bool:
        raise AssertionError("the master is not asked while there are executors")

    assert verdict(2, asked, 500.0, 500.0) == (0.0, 0.0, "")
    assert verdict(0, lambda: False, 20.0, 20.0) == (20.0, 20.0, "")
    assert verdict(0, lambda: False, 90.0, 31.0) == (90.0, 31.0, "end")
    # It is back: the wait for executors goes on, and people are told of it once a minute.
    assert verdict(0, lambda: True, 50.0, 29.0) == (50.0, 0.0, "")
    assert verdict(0, lambda: True, 61.0, 61.0) == (0.0, 0.0, "tell")
