"""The kinds of values that several sections share: names, S3 locations, schedules, instance types."""

from __future__ import annotations

import difflib
import zoneinfo
from datetime import UTC, datetime
from typing import Annotated, Literal

from croniter import CroniterBadDateError, croniter  # type: ignore[import-untyped]
from pydantic import AfterValidator, Field

from slipway.spec.section import TextRule, broken_rule

SCHEDULE_PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
"""The presets of Airflow that repeat; ``@once`` and ``@continuous`` make no sense for a service."""

TAG_CHARACTERS = r"[\w .:/=+@-]"
"""What AWS accepts in tag keys and values."""

_ANY_TIME = datetime(2021, 1, 1, tzinfo=UTC)
"""Fixed, so that what is accepted does not depend on the day."""


def _suggest_name(text: str) -> str | None:
    slug = "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in text.lower()).split()).lstrip(
        "0123456789-"
    )
    return slug[:32].rstrip("-") or None


def _suggest_prefix(text: str) -> str | None:
    scheme, separator, rest = text.partition("://")
    meant = f"s3://{rest.rstrip('/')}/"
    fits = separator and scheme.lower() in ("s3", "s3a", "s3n") and meant != text and "*" not in text
    return meant if fits else None


def _suggest_instance_type(text: str) -> str | None:
    return f"ml.{text}" if not text.startswith("ml.") and text.count(".") == 1 else None


_BUCKET = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_KEY = r"[^\s*?\[\]{}\\\x00-\x1f]*"

ServiceName = Annotated[
    str,
    TextRule(
        "lower-case letters, digits and single '-', beginning with a letter",
        r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*",
        max_length=32,
        suggest=_suggest_name,
    ),
]
RegisteredModelName = Annotated[
    str,
    TextRule(
        "the name of an MLflow registered model: letters, digits, spaces and any of _ . + @ -",
        r"\w(?:[\w .+@-]*[\w.+@-])?",
        max_length=128,
    ),
]
Owner = Annotated[
    str,
    TextRule(
        "a person, team or e-mail address in letters, digits, spaces and any of _ . : / = + @ -",
        rf"\w(?:{TAG_CHARACTERS}*[\w.:/=+@-])?",
        max_length=128,
    ),
]
InstanceType = Annotated[
    str,
    TextRule(
        "a SageMaker instance type such as ml.m5.large",
        r"ml\.[a-z][a-z0-9-]*\.[a-z0-9-]+",
        max_length=40,
        suggest=_suggest_instance_type,
    ),
]
S3Prefix = Annotated[
    str,
    TextRule(
        "a folder in S3, such as s3://bucket/folder/, with a '/' at its end and no wildcards",
        rf"{_BUCKET}/(?:{_KEY}/)?",
        max_length=1024,
        suggest=_suggest_prefix,
    ),
]
RoleReference = Annotated[
    str,
    TextRule(
        "the name or the ARN of an IAM role",
        r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+|[\w+=,.@-]{1,64}",
        max_length=2048,
    ),
]
KmsKey = Annotated[
    str,
    TextRule(
        "the id or ARN of a KMS key or alias",
        r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(?:key|alias)/[\w/-]+|alias/[\w/-]+|[0-9a-zA-Z-]+",
        2048,
    ),
]
SubnetId = Annotated[str, TextRule("a subnet id such as subnet-0a1b2c3d", r"subnet-[0-9a-zA-Z]+", 32)]
SecurityGroupId = Annotated[str, TextRule("a security group id such as sg-0a1b2c3d", r"sg-[0-9a-zA-Z]+", 32)]
ConnectionId = Annotated[str, TextRule("the id of an Airflow connection", r"[\w.:-]+", max_length=200)]
ImageBuilder = Literal["layers", "docker"]
"""What makes images: Slipway's own builder of layers, or a Docker engine."""

PythonMinor = Annotated[str, TextRule('a Python version in quotes, such as "3.11"', r"3\.[1-9]?\d")]
TagKey = Annotated[
    str,
    TextRule(
        "a tag key that begins with neither aws: nor slipway:",
        rf"(?![Aa][Ww][Ss]:|slipway:){TAG_CHARACTERS}+",
        max_length=128,
    ),
]
TagValue = Annotated[
    str, TextRule("letters, digits, spaces and any of _ . : / = + @ -", rf"{TAG_CHARACTERS}*", max_length=256)
]
Tags = Annotated[dict[TagKey, TagValue], Field(max_length=30)]


def _check_schedule(text: str) -> str:
    if text in SCHEDULE_PRESETS:
        return text
    if text.startswith("@"):
        raise broken_rule(_with_suggestion(f"one of {', '.join(SCHEDULE_PRESETS)}", text, SCHEDULE_PRESETS))
    if len(text.split()) != 5 or not croniter.is_valid(text):
        raise broken_rule(
            f"a cron expression of five fields such as '0 3 * * 1', or one of {', '.join(SCHEDULE_PRESETS)}"
        )
    try:
        croniter(text, _ANY_TIME).get_next()
    except CroniterBadDateError as error:
        raise broken_rule("a cron expression that comes at some time; there is no such date") from error
    return text


def _check_timezone(text: str) -> str:
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        expected = "the name of a time zone such as Europe/Berlin"
        raise broken_rule(_with_suggestion(expected, text, zoneinfo.available_timezones())) from error
    return text


def _with_suggestion(expected: str, found: str, possible: tuple[str, ...] | set[str]) -> str:
    near = difflib.get_close_matches(found, sorted(possible), n=1)
    return f"{expected}; did you mean {near[0]!r}?" if near else expected


def unique(values: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Return ``values`` when none of them comes twice, else raise what pydantic collects."""
    twice = sorted({value for value in values if values.count(value) > 1}, key=str)
    if twice:
        raise broken_rule(f"each value once; {', '.join(map(repr, twice))} comes more than once")
    return values


Schedule = Annotated[str, AfterValidator(_check_schedule)]
Timezone = Annotated[str, AfterValidator(_check_timezone)]
