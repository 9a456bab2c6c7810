from __future__ import annotations

import pytest

from slipway.errors import InvalidInputError
from slipway.training.own_code import own_files


@pytest.fixture
def retrainers(tmp_path):
    for name in ("own.py", "tables/codes.csv", "__pycache__/own.pyc", ".git/config", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x\n")
    return tmp_path


def test_what_lies_beside_the_named_file_travels_as_well(retrainers):
    assert set(own_files(retrainers, [None, "own.py:Own"])) == {"own.py", "tables/codes.csv"}


def test_nothing_travels_when_nothing_is_named(retrainers):
    assert own_files(retrainers, [None, None]) == {}


def test_a_named_file_that_is_not_there_is_told(retrainers):
    with pytest.raises(InvalidInputError, match=r"names other.py:make, and there is no .*/other.py"):
        own_files(retrainers, ["own.py:make", "other.py:make"])


def test_data_does_not_travel(retrainers):
    with (retrainers / "rows.parquet").open("wb") as file:
        file.truncate(21_000_000)
    with pytest.raises(InvalidInputError, match=r"3 files of 21.0 MB together.*at most 500 files and 20 MB"):
        own_files(retrainers, ["own.py:Own"])
