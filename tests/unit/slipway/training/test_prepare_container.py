"""The files that a preparing container is given and leaves; the engine itself is in tests/integration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.errors import ContainerFailedError
from slipway.images.container_run import ContainerEnd
from slipway.training.prepare_container import ContainerFolders, unfit_paths


class Program:
    """A container whose program is a function over its root folder; what it leaves is handed out as the engine does."""

    def __init__(self, program: Callable[[Path], int | None], out_of_memory: bool = False) -> None:
        self._program = program
        self._out_of_memory = out_of_memory

    def run(self, given: Path, wanted: dict[str, Path], on_line: Callable[[str], None]) -> ContainerEnd:
        code = self._program(given) or 0
        on_line("last words")
        on_line("")
        for folder, place in wanted.items():
            place.rmdir()
            (given / folder.removeprefix("/")).rename(place)
        return ContainerEnd(code, self._out_of_memory)


def outcome(folder: Path, paths: list[str], program: Callable[[Path], int | None], data_format: str | None = None):
    folders = ContainerFolders(folder, data_format)
    for path in paths:
        folders.place(path).write_text(f"rows of {path}")
    made = folders.run(Program(program), "clean:4", paths, lambda line: None)  # type: ignore[arg-type]
    return {path: each.refusal or (each.file.suffix, each.file.read_text()) for path, each in made.items() if each}


def test_each_object_has_its_rows_in_the_format_of_the_name_or_a_reason(tmp_path):
    def program(root: Path) -> None:
        given, output = root / "opt/ml/processing/input", root / "opt/ml/processing/output"
        (output / "dt=1").mkdir()
        (output / "dt=1" / "a.xml.parquet").write_text((given / "dt=1" / "a.xml").read_text().upper())
        (output / "b.csv").write_text("as it is")
        (output / "c.csv.refused").write_text(" too few columns\n")
        (output / "d.csv.refused").touch()
        (output / "left over").touch()

    found = outcome(tmp_path, ["dt=1/a.xml", "b.csv", "c.csv", "d.csv"], program)
    assert found == {
        "dt=1/a.xml": (".parquet", "ROWS OF DT=1/A.XML"),
        "b.csv": (".csv", "as it is"),
        "c.csv": "too few columns",
        "d.csv": "no reason is given",
    }


def test_the_format_of_the_spec_is_that_of_files_under_the_objects_own_names(tmp_path):
    def program(root: Path) -> None:
        for name in ("a.txt", "a.txt.json", "b", "c.parquet"):
            (root / "opt/ml/processing/output" / name).write_text(name)

    # The last is another object's, though it would be of c as well.
    found = outcome(tmp_path, ["a.txt", "b", "c.parquet"], program, "csv")
    assert found == {"a.txt": (".csv", "a.txt"), "b": (".csv", "b"), "c.parquet": (".csv", "c.parquet")}


def test_nothing_for_an_object_is_an_error_that_names_it(tmp_path):
    def program(root: Path) -> None:
        output = root / "opt/ml/processing/output"
        (output / "all.parquet").touch()
        (output / "b.csv").symlink_to("/etc/passwd")
        (output / "folder").mkdir()
        (output / "away").symlink_to("/etc")

    expected = (
        r"the container of clean:4 left nothing for 'a.csv', 'b.csv'; expected /opt/ml/processing/output/a.csv, .* or "
        r"a.csv.refused with the reason; it left 'all.parquet'$"
    )
    with pytest.raises(ContainerFailedError, match=expected):
        outcome(tmp_path, ["a.csv", "b.csv"], program)


@pytest.mark.parametrize("name", ["message", "failure"])
def test_a_failure_is_told_in_the_containers_own_words(tmp_path, name):
    def program(root: Path) -> int:
        (root / "opt/ml/output" / name).write_text("no column 'at'\n" + "x" * 5000)
        return 3

    with pytest.raises(ContainerFailedError, match="ended with code 3: no column 'at'") as caught:
        outcome(tmp_path, ["a.csv"], program)
    assert len(str(caught.value)) < 1200


def test_a_failure_without_a_message_is_told_by_the_last_line(tmp_path):
    with pytest.raises(ContainerFailedError, match="ended with code 1: its last line is 'last words'"):
        outcome(tmp_path, ["a.csv"], lambda root: 1)
    (tmp_path / "again").mkdir()
    folders = ContainerFolders(tmp_path / "again")
    killed = Program(lambda root: 137, out_of_memory=True)
    with pytest.raises(ContainerFailedError, match="was killed for its memory"):
        folders.run(killed, "clean:4", ["a"], print)  # type: ignore[arg-type]


def test_a_message_that_leads_elsewhere_is_not_read(tmp_path):
    def program(root: Path) -> int:
        (root / "opt/ml/output/message").symlink_to("/etc/passwd")
        return 1

    with pytest.raises(ContainerFailedError, match="its last line"):
        outcome(tmp_path, ["a.csv"], program)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("../a", "cannot be the name of a file"),
        ("a//b", "cannot be the name"),
        ("", "cannot be the name"),
        ("a/", "cannot be the name"),
        ("/a", "cannot be the name"),
        ("x/" + "ä" * 200, "longer than 247 bytes"),
        ("file/b", "'file' is an object, and cannot be a folder"),
    ],
)
def test_objects_that_cannot_be_files_are_told_apart(path, why):
    found = unfit_paths([path, "file", "dt=1/a.csv"])
    assert list(found) == [path]
    assert why in found[path]


@given(st.lists(st.lists(st.sampled_from(["a", "b", "..", ".", "", "\0", "é"]), min_size=1, max_size=4), max_size=6))
def test_all_others_can_be_files_together_and_stay_in_their_folder(parts):
    paths = {"/".join(each) for each in parts}
    with TemporaryDirectory() as folder:
        folders = ContainerFolders(Path(folder))
        for path in paths - set(unfit_paths(paths)):
            folders.place(path).write_text(path)
        root = folders.given / "opt/ml/processing/input"
        written = {each.relative_to(root).as_posix() for each in root.rglob("*") if each.is_file()}
    assert written == paths - set(unfit_paths(paths))
