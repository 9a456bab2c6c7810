from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slipway.errors import UnknownServiceError
from slipway.spec import load_services
from slipway.spec.loader import load_model

Write = Callable[..., Path]


def text(name: str, model: str) -> str:
    return f"name: {name}\nowner: o\nmodel: {model}\n"


def test_a_bad_file_never_hides_a_good_one(write_service: Write, tmp_path: Path) -> None:
    write_service(text("flights", "m1"))
    write_service("name: [", "broken.yaml")
    write_service(text("Up per", "m2"), "Up per.yaml")
    write_service(b"\xff", "binary.yaml")
    (tmp_path / "services" / "folder.yaml").mkdir()
    (tmp_path / "services" / "dangling.yaml").symlink_to(tmp_path / "nowhere")
    catalog = load_services(tmp_path)
    assert list(catalog.specs) == ["flights"]
    assert {each.name for each in catalog.invalid} == {"Up_per", "binary", "broken", "dangling", "folder"}
    assert all(each.message.startswith(f"{each.path}:") for each in catalog.invalid)


def test_what_is_repeated_in_one_file_hides_no_other(write_service: Write, tmp_path: Path) -> None:
    write_service(text("flights", "m1"))
    bad = write_service(text("trains", "m2") + "promote: {gates: [before, before, 1, 1]}\n", "trains.yaml")
    catalog = load_services(tmp_path)
    assert list(catalog.specs) == ["flights"]
    assert [each.message for each in catalog.invalid] == [
        f'{bad}:4: promote.gates: found ["before", "before", 1, 1]; expected each value once; 1, \'before\' comes '
        "more than once"
    ]


def test_a_fault_of_ours_at_one_file_hides_no_other(
    write_service: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(path: Path, *others: Any) -> Any:
        if path.stem == "trains":
            raise ZeroDivisionError("division by zero")
        return load_model(path, *others)

    write_service(text("flights", "m1"))
    bad = write_service(text("trains", "m2"), "trains.yaml")
    monkeypatch.setattr("slipway.spec.catalog.load_model", faulty)
    catalog = load_services(tmp_path)
    assert list(catalog.specs) == ["flights"]
    assert [each.message for each in catalog.invalid] == [
        f"{bad}:1: cannot be checked, by a fault of Slipway's: ZeroDivisionError: division by zero; undo the last "
        "change to the file"
    ]


def test_names_of_invalid_services_are_fit_for_dag_ids(write_service: Write, tmp_path: Path) -> None:
    write_service("", "a b/../ü;$(x).yaml".replace("/", "_"))
    (invalid,) = load_services(tmp_path).invalid
    assert invalid.name == "a_b_.._____x_"
    assert all(c.isascii() and (c.isalnum() or c in "_.-") for c in invalid.name)


def test_one_model_in_two_services_makes_both_invalid(write_service: Write, tmp_path: Path) -> None:
    one, two = write_service(text("one", "m"), "one.yaml"), write_service(text("two", "m"), "two.yaml")
    write_service(text("three", "other"), "three.yaml")
    catalog = load_services(tmp_path)
    assert list(catalog.specs) == ["three"]
    messages = [each.message for each in catalog.invalid]
    assert messages == [
        f"{one}:3: model: found 'm', which {two} has as well; expected one service for each",
        f"{two}:3: model: found 'm', which {one} has as well; expected one service for each",
    ]


def test_one_name_in_two_files_makes_both_invalid(write_service: Write, tmp_path: Path) -> None:
    one, copy = write_service(text("one", "m"), "one.yaml"), write_service(text("one", "m2"), "copy.yaml")
    catalog = load_services(tmp_path)
    assert catalog.specs == {}
    found = {each.path: each.message for each in catalog.invalid}
    assert str(copy) in found[one]
    assert str(one) in found[copy]
    assert "expected 'copy', the name of the file" in found[copy]


def test_an_invalid_file_claims_nothing(write_service: Write, tmp_path: Path) -> None:
    write_service(text("one", "m"), "one.yaml")
    write_service(text("two", "m") + "unknown: 1\n", "two.yaml")
    catalog = load_services(tmp_path)
    assert list(catalog.specs) == ["one"]
    assert [each.name for each in catalog.invalid] == ["two"]


def test_the_other_ending_is_pointed_out(write_service: Write, tmp_path: Path) -> None:
    write_service(text("flights", "m"), "flights.yml")
    (invalid,) = load_services(tmp_path).invalid
    assert "rename it to flights.yaml" in invalid.message


def test_two_invalid_files_of_one_stem_keep_names_of_their_own(write_service: Write, tmp_path: Path) -> None:
    write_service("name: [", "flights.yaml")
    write_service(text("flights", "m"), "flights.yml")
    assert [each.name for each in load_services(tmp_path).invalid] == ["flights", "flights.yml"]


def test_a_project_without_services_is_empty(tmp_path: Path) -> None:
    catalog = load_services(tmp_path)
    assert (catalog.specs, catalog.invalid) == ({}, ())


def test_get_names_what_there_is(write_service: Write, tmp_path: Path) -> None:
    write_service(text("flights", "m"))
    write_service("name: [", "broken.yaml")
    catalog = load_services(tmp_path)
    assert catalog.get("flights").model == "m"
    with pytest.raises(UnknownServiceError, match=r"'flight'; did you mean 'flights'\? Services: flights"):
        catalog.get("flight")
    with pytest.raises(UnknownServiceError, match=r"'broken' is not valid: .*broken\.yaml:"):
        catalog.get("broken")


def test_hundreds_of_services_are_read_within_a_moment(write_service: Write, tmp_path: Path) -> None:
    for n in range(300):
        write_service(text(f"service-{n}", f"model-{n}"), f"service-{n}.yaml")
    began = time.process_time()
    assert len(load_services(tmp_path).specs) == 300
    assert time.process_time() - began < 3  # 0.2 s here; a DAG file has 50 s for everything
