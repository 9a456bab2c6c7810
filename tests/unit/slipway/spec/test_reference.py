from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from slipway.platform import Platform
from slipway.spec import ServiceSpec
from slipway.spec.problems import section_of
from slipway.spec.reference import platform_schema, service_schema, write_tables

ROOT = Path(__file__).parents[4]


def test_the_page_tells_the_fields_as_they_are() -> None:
    page = (ROOT / "docs/services.md").read_text(encoding="utf-8")
    assert page == write_tables(page), "run: python -m slipway.spec.reference docs/services.md"


def test_a_page_without_marks_is_not_overwritten() -> None:
    with pytest.raises(ValueError, match="lacks the marks"):
        write_tables("# My own page\n")


def test_the_schemas_are_schemas_and_take_the_files_of_the_embedded_stack() -> None:
    for schema, file in ((service_schema(), "services/flights.yaml"), (platform_schema(), "platform.yaml")):
        jsonschema.Draft202012Validator.check_schema(schema)
        content = yaml.safe_load((ROOT / "include" / file).read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator(schema).validate(content)


def test_the_schema_refuses_what_an_editor_should_mark() -> None:
    validator = jsonschema.Draft202012Validator(service_schema())
    minimal = {"name": "flights", "model": "m", "owner": "o"}
    for wrong in ({"name": "Flights"}, {"nme": "x"}, {"promote": {"alpha": 2}}, {"promote": {"strategy": "x"}}):
        assert not validator.is_valid({**minimal, **wrong})


def sections(model: type[BaseModel]) -> list[type[BaseModel]]:
    inner = [section_of(info.annotation) for info in model.model_fields.values()]
    return [model, *(found for section in inner if section for found in sections(section))]


@pytest.mark.parametrize("model", [ServiceSpec, Platform])
def test_every_field_is_described_and_every_section_closed(model: type[BaseModel]) -> None:
    for section in sections(model):
        assert section.__doc__
        assert section.model_config["extra"] == "forbid"
        assert section.model_config["frozen"]
        for name, info in section.model_fields.items():
            assert info.description, f"{section.__name__}.{name} has no description"
