"""Services drawn at random: what is valid stays as it is, whatever way it takes."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.errors import InvalidSpecError
from slipway.spec import ServiceSpec, load_spec
from slipway.spec.located import scalar
from slipway.spec.reference import service_schema

Fields = st.SearchStrategy[dict[str, Any]]
INSTANCE_TYPES = ("ml.m5.large", "ml.c5.xlarge", "ml.m7g.2xlarge", "ml.g5.12xlarge", "ml.inf2.24xlarge")


def _mapping(required: dict[str, st.SearchStrategy[Any]], optional: dict[str, st.SearchStrategy[Any]]) -> Fields:
    return st.fixed_dictionaries(required, optional=optional)


def _instances() -> Fields:
    fixed = _mapping({"min": st.integers(1, 100)}, {"scale_in_cooldown_seconds": st.integers(0, 3600)})
    scaling = st.tuples(st.integers(1, 50), st.integers(0, 50), st.integers(1, 10_000)).map(
        lambda n: {"min": n[0], "max": n[0] + n[1], "invocations_per_instance": n[2]}
    )
    return fixed | scaling


def _stage(**more: st.SearchStrategy[Any]) -> Fields:
    fields = {
        "instance_type": st.sampled_from(INSTANCE_TYPES),
        "instances": _instances(),
        "startup_timeout_seconds": st.integers(60, 3600),
        "aws_conn_id": st.sampled_from(["aws_default", "aws.prod", "team:aws"]),
        "execution_role": st.sampled_from(["my-role", "arn:aws:iam::123456789012:role/path/my-role"]),
    }
    return _mapping({}, {**fields, **more})


def _promote() -> Fields:
    weights = st.lists(st.integers(1, 999), min_size=1, max_size=20, unique=True).map(
        lambda w: [x / 10 for x in sorted(w)]
    )
    return _mapping(
        {},
        {
            "strategy": st.just("canary"),
            "weights_pct": weights,
            "bake_minutes": st.floats(1, 1440),
            "alpha": st.floats(0.0001, 0.5),
            "max_error_ratio": st.floats(1, 100),
            "ignore_errors_below_pct": st.floats(0, 99.9),
            "latency_slo_ms": st.none() | st.integers(1, 60_000),
            "min_requests": st.integers(1, 10**9),
            "max_hold_hours": st.floats(0, 168),
            "on_inconclusive": st.sampled_from(["ask", "roll_back", "promote"]),
            "keep_warm_minutes": st.floats(0, 10_080),
            "gates": st.lists(st.sampled_from([1, 2, "before", "between", "after"]), unique=True),
            "hooks": st.lists(
                _mapping(
                    {"name": st.from_regex(r"\A[a-z]{1,9}\Z"), "url": st.just("https://checks.example.com/go?a=1")},
                    {"at": st.lists(st.sampled_from([1, "between", "after"]), min_size=1, unique=True)},
                ),
                max_size=3,
                unique_by=lambda hook: hook["name"],
            ),
            "metrics": _mapping(
                {}, {"period_seconds": st.sampled_from([1, 10, 30, 60]), "settle_seconds": st.integers(0, 3600)}
            ),
        },
    )


def _retrain() -> Fields:
    source = st.sampled_from(
        [
            {"s3": "s3://lake/flights/"},
            {"s3": "s3://lake/", "format": "parquet", "success_marker": "_SUCCESS", "settle_seconds": 5},
            {"table": "catalog.sales.orders"},
            {"jdbc": {"connection": "warehouse", "table": "sales.orders", "watermark_column": "updated_at"}},
        ]
    )
    gate = st.sampled_from(
        [{"deploy": "manual"}, {"deploy": "automatic"}, {"deploy": "threshold", "when": ["areaUnderROC >= 0.7"]}]
    )
    window = st.sampled_from([{}, {"window": "since_champion"}, {"window": "last_days", "window_days": 90}])
    schedule = _mapping(
        {},
        {
            "schedule": st.sampled_from(["@monthly", "0 3 * * 1-5", "*/15 * * * MON"]),
            "timezone": st.sampled_from(["UTC", "Europe/Berlin"]),
        },
    )
    times = st.just({"time_column": "sold_at"})
    prepare = st.sampled_from(
        [
            {},
            {"prepare": {"function": "own.py:clean"}},
            {"prepare": {"image": "localhost:5000/clean@sha256:" + "0" * 64}},
            {"prepare": {"image": "clean:4", "command": ["sh", "-c"], "arguments": [""], "environment": {"A": "1"}}},
        ]
    )
    spark = st.sampled_from([{}, {"spark": {"spark.remote": "sc://spark:15002/;use_ssl=true"}}])
    return st.tuples(source, gate, window, schedule, times, prepare, spark).map(
        lambda p: {"data": p[0], **p[1], **p[2], **p[3], **p[4], **p[5], **p[6]}
    )


def valid_services() -> Fields:
    # JSON writes characters beyond U+FFFF as two escapes, which YAML does not know.
    text = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=40)
    tag = st.text("abcXYZ 019_.:/=+-@", min_size=1, max_size=20).map(lambda t: f"k{t}")
    optional = {
        "description": text,
        "stages": _mapping({}, {"dev": _stage(keep_hours=st.floats(0.1, 8760)), "prod": _stage()}),
        "approval": _mapping(
            {},
            {
                "required": st.booleans(),
                "approver_ids": st.lists(st.from_regex(r"\A[a-z@.]{1,9}\Z"), unique=True, max_size=5),
            },
        ),
        "promote": _promote(),
        "retrain": _retrain(),
        "monitor": _mapping(
            {},
            {
                "capture_pct": st.integers(0, 100),
                "labels": st.just("s3://lake/labels/"),
                "on_drift": st.sampled_from(["notify", "ignore"]),
            },
        ),
        "security": st.sampled_from(
            [
                {},
                {"kms_key_id": "alias/models"},
                {"subnets": ["subnet-1"], "security_group_ids": ["sg-1"], "network_isolation": False},
            ]
        ),
        "notify": st.sampled_from([{}, {"sns_topic_arn": "arn:aws:sns:eu-central-1:123456789012:models"}]),
        "serving": _mapping(
            {},
            {
                "python": st.sampled_from(["3.11", "3.12"]),
                "explain": st.sampled_from(["none", "contributions"]),
                "environment": st.dictionaries(st.from_regex(r"\A[A-Z_]{1,8}X\Z"), text, max_size=3),
            },
        ),
        "golden_rows": _mapping({}, {"max_rows": st.integers(1, 1000)}),
        "tags": st.dictionaries(tag, tag, max_size=3),
    }
    required = {
        "name": st.from_regex(r"\A[a-z][a-z0-9]{0,9}(-[a-z0-9]{1,9}){0,2}\Z"),
        "model": st.sampled_from(["flights-delay", "Flights v2.1+b", "cat.schema.model"]),
        "owner": st.sampled_from(["ml-platform@example.com", "Team A", "jörg"]),
    }
    return _mapping(required, optional)


SCHEMA = jsonschema.Draft202012Validator(service_schema())

rubbish = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


class _QuotesNumbers(yaml.SafeDumper):
    """Writes text that YAML 1.2 takes for a number, and YAML 1.1 does not, in quotes: ``0E0`` is one."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if isinstance(scalar(text), str) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_QuotesNumbers.add_representer(str, _text)


def _load(text: str, name: str) -> ServiceSpec:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        return load_spec(path)


@settings(deadline=None)
@given(valid_services())
def test_a_valid_service_survives_yaml_and_json(fields: dict[str, Any]) -> None:
    spec = ServiceSpec.model_validate(fields)
    as_json = spec.model_dump(mode="json")
    assert ServiceSpec.model_validate(as_json) == spec
    assert _load(json.dumps(as_json, ensure_ascii=True), spec.name) == spec
    assert ServiceSpec.model_validate_json(spec.model_dump_json()) == spec


@settings(deadline=None)
@given(valid_services())
def test_a_valid_service_survives_pyyaml(fields: dict[str, Any]) -> None:
    spec = ServiceSpec.model_validate(fields)
    # Left as it is, U+0085 would be written as a line break, which it is in YAML 1.1.
    text = yaml.dump(spec.model_dump(mode="json"), allow_unicode=False, Dumper=_QuotesNumbers)
    assert _load(text, spec.name) == spec


@settings(deadline=None)
@given(valid_services())
def test_the_schema_of_editors_accepts_what_the_loader_accepts(fields: dict[str, Any]) -> None:
    SCHEMA.validate(fields)
    SCHEMA.validate(ServiceSpec.model_validate(fields).model_dump(mode="json"))


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in _paths(item, (*path, key)))]


def _put(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _put(copy[path[0]], path[1:], new)
    return copy


@settings(max_examples=300, deadline=None)
@given(valid_services(), st.data())
def test_rubbish_in_any_field_is_accepted_or_blamed_with_its_line(fields: dict[str, Any], data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(_paths(fields)[1:]))
    text = yaml.safe_dump(_put(fields, path, data.draw(rubbish)), allow_unicode=True, default_flow_style=False)
    message = ""
    try:
        _load(text, fields["name"])
    except InvalidSpecError as error:
        message = str(error)
    lines = sum(text.count(end) for end in "\n\r\x85\u2028\u2029") + 1
    for problem in message.splitlines():
        _, line, words = problem.split(":", 2)
        assert 1 <= int(line) <= lines + 1
        assert words.strip()


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_give_a_service_or_an_invalid_spec(content: bytes) -> None:
    message = "accepted"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flights.yaml"
        path.write_bytes(content)
        try:
            load_spec(path)
        except InvalidSpecError as error:
            message = str(error)
        assert message.startswith(f"{path}:")


@settings(deadline=None)
@given(rubbish)
def test_any_yaml_gives_a_service_or_an_invalid_spec(value: Any) -> None:
    message = "accepted"
    try:
        _load(yaml.safe_dump(value, allow_unicode=True), "flights")
    except InvalidSpecError as error:
        message = str(error)
    assert "flights.yaml:" in message
