"""What the endpoint tests share: a service, a release, AWS's published constraints, and a SageMaker in memory."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.model import Shape
from botocore.validate import ParamValidator

from slipway.endpoints.requests import Account, WantedEndpoint, wanted_endpoint
from slipway.platform import Platform
from slipway.release import Release, ReleaseInputs, release_id
from slipway.spec import ServiceSpec

ACCOUNT = Account("123456789012", "eu-central-1")


@pytest.fixture(scope="session")
def account() -> Account:
    return ACCOUNT


@pytest.fixture(scope="session")
def platform() -> Platform:
    return Platform(execution_role="slipway-endpoint", tags={"team": "ml"})


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., ServiceSpec]:
    """A service with the sections that a test cares for."""

    def make(**sections: Any) -> ServiceSpec:
        minimal = {"name": "flights", "model": "flights-delay", "owner": "ml@example.com"}
        return ServiceSpec.model_validate({**minimal, **sections})

    return make


@pytest.fixture(scope="session")
def make_release() -> Callable[..., Release]:
    """A release; another ``seed`` gives another one."""

    def make(seed: str = "a", **changes: Any) -> Release:
        inputs = ReleaseInputs(
            artifact_manifest_digest=seed,
            lock_digest="l",
            base_image_digest="scratch",
            serving_app_digest="s",
            serving_spec={},
        )
        fields = {
            "service": "flights",
            "id": release_id(inputs),
            "model": "flights-delay",
            "version": 3,
            "image_uri": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/slipway/flights@sha256:" + "0" * 64,
            "inputs": inputs,
            "created_from": {"run_id": "r1"},
        }
        return Release.model_validate({**fields, **changes})

    return make


@pytest.fixture(scope="session")
def wanted_of(
    make_spec: Callable[..., ServiceSpec], make_release: Callable[..., Release], platform: Platform, account: Account
) -> Callable[..., WantedEndpoint]:
    """The dev endpoint of a release; the seed names the release."""

    def build(seed: str = "a", **sections: Any) -> WantedEndpoint:
        return wanted_endpoint(make_spec(**sections), "dev", make_release(seed), platform, account, bucket="artifacts")

    return build


def _violations(shape: Shape, value: Any, path: str) -> list[str]:
    """Enums, patterns and maxima, which botocore's own validator leaves to the service."""
    if shape.type_name == "structure":
        found = [_violations(shape.members[key], inner, f"{path}.{key}") for key, inner in value.items()]
    elif shape.type_name == "list":
        found = [_violations(shape.member, inner, f"{path}[{i}]") for i, inner in enumerate(value)]
        found.append(_too_long(shape, len(value), path))
    elif shape.type_name == "map":
        found = [_violations(shape.value, inner, f"{path}[{key}]") for key, inner in value.items()]
        found += [_violations(shape.key, key, f"{path} key") for key in value]
        found.append(_too_long(shape, len(value), path))
    elif shape.type_name == "string":
        found = [_string_violations(shape, value, path)]
    else:
        found = [_too_long(shape, value, path)] if shape.type_name in {"integer", "float", "long"} else []
    return [text for inner in found for text in inner]


def _too_long(shape: Shape, size: float, path: str) -> list[str]:
    maximum = shape.metadata.get("max")
    return [f"{path}: {size} > {maximum}"] if maximum is not None and size > maximum else []


def _string_violations(shape: Shape, value: str, path: str) -> list[str]:
    found = _too_long(shape, len(value), path)
    if shape.enum and value not in shape.enum:
        found.append(f"{path}: {value!r} is not in the enum")
    pattern = shape.metadata.get("pattern")
    if pattern:
        for java, python in ((r"\p{L}", r"\w"), (r"\p{N}", r"\d"), (r"\p{Z}", " ")):
            pattern = pattern.replace(java, python)
        if not re.fullmatch(pattern, value):
            found.append(f"{path}: {value!r} does not match {pattern}")
    return found


@pytest.fixture(scope="session")
def assert_valid() -> Callable[[str, dict[str, Any]], None]:
    """Check a request against everything that botocore's model of SageMaker says."""
    service = botocore.session.get_session().get_service_model("sagemaker")

    def check(operation: str, request: dict[str, Any]) -> None:
        shape = service.operation_model(operation).input_shape
        report = ParamValidator().validate(request, shape)
        assert not report.has_errors(), report.generate_report()
        assert _violations(shape, request, operation) == []

    return check


class Killed(BaseException):
    """The process dies here. No ``except Exception`` may catch it."""


class SageMakerInMemory:
    """The control plane as its API reference describes it, with a clock that only `sleep` moves.

    Models and configs are immutable, names unique; an endpoint is Creating or Updating for ``busy_seconds`` and refuses
    other changes meanwhile; an update keeps the old config until it succeeds. ``unhealthy`` names configs that fail;
    ``kill_at`` lets the process die at the n-th write, before or after it takes effect.
    """

    def __init__(self) -> None:
        self.resources: dict[str, dict[str, dict[str, Any]]] = {"Model": {}, "EndpointConfig": {}, "Endpoint": {}}
        self.tags: dict[str, dict[str, str]] = {}
        self.clock = datetime(2026, 1, 1, tzinfo=UTC)
        self.busy_seconds = 60.0
        self.deleting_seconds = 20.0
        self.unhealthy: set[str] = set()
        self.writes: list[str] = []
        self.kill_at: tuple[int, str] | None = None
        self.read_lag: dict[str, int] = {}
        self._due: dict[str, datetime] = {}

    def sleep(self, seconds: float) -> None:
        self.clock += timedelta(seconds=seconds)

    def snapshot(self) -> dict[str, Any]:
        """Everything that lasts, without times."""
        self._settle()
        return {
            "models": {name: found["request"] for name, found in self.resources["Model"].items()},
            "configs": {name: found["request"] for name, found in self.resources["EndpointConfig"].items()},
            "endpoints": {
                name: (found["status"], found["config"], found.get("pending"))
                for name, found in self.resources["Endpoint"].items()
            },
            "tags": dict(self.tags),
        }

    # -- reads --------------------------------------------------------------------------------------------------

    def describe_model(self, *, ModelName: str) -> dict[str, Any]:  # noqa: N803
        return self._described("Model", ModelName, "model")

    def describe_endpoint_config(self, *, EndpointConfigName: str) -> dict[str, Any]:  # noqa: N803
        return self._described("EndpointConfig", EndpointConfigName, "endpoint configuration")

    def describe_endpoint(self, *, EndpointName: str) -> dict[str, Any]:  # noqa: N803
        self._settle()
        found = self._find("Endpoint", EndpointName, "endpoint")
        answer = {
            "EndpointName": EndpointName,
            "EndpointArn": self.arn("Endpoint", EndpointName),
            "EndpointConfigName": found["config"],
            "EndpointStatus": found["status"],
            "CreationTime": found["created"],
            "LastModifiedTime": found["modified"],
        }
        if found.get("pending"):
            answer["PendingDeploymentSummary"] = {"EndpointConfigName": found["pending"]}
        if found.get("reason"):
            answer["FailureReason"] = found["reason"]
        return answer

    def get_paginator(self, name: str) -> SageMakerInMemory:
        assert name == "list_tags"
        return self

    def paginate(self, *, ResourceArn: str) -> list[dict[str, Any]]:  # noqa: N803
        tags = [{"Key": key, "Value": value} for key, value in self.tags.get(ResourceArn, {}).items()]
        return [{"Tags": tags[:2]}, {"Tags": tags[2:]}]

    # -- writes -------------------------------------------------------------------------------------------------

    def create_model(self, **request: Any) -> None:
        self._create("Model", request["ModelName"], request, "model")

    def create_endpoint_config(self, **request: Any) -> None:
        for variant in request["ProductionVariants"]:
            self._find("Model", variant["ModelName"], "model", lagging=True)
        self._create("EndpointConfig", request["EndpointConfigName"], request, "endpoint configuration")

    def create_endpoint(self, **request: Any) -> None:
        name, config = request["EndpointName"], request["EndpointConfigName"]
        self._find("EndpointConfig", config, "endpoint configuration", lagging=True)
        with self._write(f"CreateEndpoint {name}"):
            self._refuse_duplicate("Endpoint", name, "endpoint")
            times = {"created": self.clock, "modified": self.clock}
            self.resources["Endpoint"][name] = {"status": "Creating", "config": config, **times}
            self._due[name] = self.clock + timedelta(seconds=self.busy_seconds)
            self.tags[self.arn("Endpoint", name)] = _as_dict(request.get("Tags", []))

    def update_endpoint(self, **request: Any) -> None:
        name, config = request["EndpointName"], request["EndpointConfigName"]
        self._settle()
        self._find("EndpointConfig", config, "endpoint configuration", lagging=True)
        with self._write(f"UpdateEndpoint {name} {config}"):
            found = self._find("Endpoint", name, "endpoint")
            self._refuse_busy(name, found)
            found.update(status="Updating", pending=config, modified=self.clock)
            self._due[name] = self.clock + timedelta(seconds=self.busy_seconds)

    def delete_endpoint(self, *, EndpointName: str) -> None:  # noqa: N803
        self._settle()
        with self._write(f"DeleteEndpoint {EndpointName}"):
            found = self._find("Endpoint", EndpointName, "endpoint")
            self._refuse_busy(EndpointName, found)
            found.update(status="Deleting", modified=self.clock)
            self._due[EndpointName] = self.clock + timedelta(seconds=self.deleting_seconds)

    def delete_endpoint_config(self, *, EndpointConfigName: str) -> None:  # noqa: N803
        self._settle()
        used = [name for name, found in self.resources["Endpoint"].items() if found["config"] == EndpointConfigName]
        assert used == [], "a config must not be deleted under an endpoint"
        self._delete("EndpointConfig", EndpointConfigName, "endpoint configuration")

    def delete_model(self, *, ModelName: str) -> None:  # noqa: N803
        for config in self.resources["EndpointConfig"].values():
            used = [variant["ModelName"] for variant in config["request"]["ProductionVariants"]]
            assert ModelName not in used, "a model must not be deleted under a config"
        self._delete("Model", ModelName, "model")

    def add_tags(self, *, ResourceArn: str, Tags: list[dict[str, str]]) -> None:  # noqa: N803
        with self._write(f"AddTags {ResourceArn}"):
            self.tags.setdefault(ResourceArn, {}).update(_as_dict(Tags))

    # -- inside -------------------------------------------------------------------------------------------------

    @staticmethod
    def arn(kind: str, name: str) -> str:
        kinds = {"Model": "model", "EndpointConfig": "endpoint-config", "Endpoint": "endpoint"}
        return f"arn:aws:sagemaker:eu-central-1:123456789012:{kinds[kind]}/{name}"

    @contextmanager
    def _write(self, call: str) -> Iterator[None]:
        number, when = len(self.writes) + 1, (self.kill_at or (0, ""))
        if when == (number, "before"):
            self.kill_at = None
            raise Killed(call)
        yield
        self.writes.append(call)
        if when == (number, "after"):
            self.kill_at = None
            raise Killed(call)

    def _create(self, kind: str, name: str, request: dict[str, Any], words: str) -> None:
        with self._write(f"Create{kind} {name}"):
            self._refuse_duplicate(kind, name, words)
            self.resources[kind][name] = {"request": copy.deepcopy(request)}
            self.tags[self.arn(kind, name)] = _as_dict(request.get("Tags", []))

    def _delete(self, kind: str, name: str, words: str) -> None:
        with self._write(f"Delete{kind} {name}"):
            self._find(kind, name, words)
            del self.resources[kind][name]
            self.tags.pop(self.arn(kind, name), None)

    def _described(self, kind: str, name: str, words: str) -> dict[str, Any]:
        answer = copy.deepcopy(self._find(kind, name, words)["request"])
        answer.pop("Tags", None)
        return answer | {f"{kind}Arn": self.arn(kind, name), "CreationTime": self.clock}

    def _find(self, kind: str, name: str, words: str, *, lagging: bool = False) -> dict[str, Any]:
        lag = self.read_lag.get(name, 0) if lagging else 0
        if lag:
            self.read_lag[name] = lag - 1
        if lag or name not in self.resources[kind]:
            raise _refused(f'Could not find {words} "{self.arn(kind, name)}".')
        return self.resources[kind][name]

    def _refuse_duplicate(self, kind: str, name: str, words: str) -> None:
        if name in self.resources[kind]:
            raise _refused(f'Cannot create already existing {words} "{self.arn(kind, name)}".')

    def _refuse_busy(self, name: str, found: dict[str, Any]) -> None:
        if found["status"] in {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}:
            raise _refused(f'Cannot update in-progress endpoint "{self.arn("Endpoint", name)}".')

    def _settle(self) -> None:
        for name in [name for name, due in self._due.items() if due <= self.clock]:
            del self._due[name]
            found = self.resources["Endpoint"][name]
            if found["status"] == "Deleting":
                del self.resources["Endpoint"][name]
                del self.tags[self.arn("Endpoint", name)]
            elif found["status"] == "Creating":
                bad = found["config"] in self.unhealthy
                found.update(status="Failed" if bad else "InService", reason="No ping." if bad else "")
            else:
                pending = found.pop("pending")
                found.update(status="InService", config=found["config"] if pending in self.unhealthy else pending)
            if name in self.resources["Endpoint"]:
                found["modified"] = self.clock


def _as_dict(tags: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def _refused(message: str) -> ClientError:
    response: dict[str, Any] = {
        "Error": {"Code": "ValidationException", "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": 400},
    }
    return ClientError(response, "SageMaker")  # type: ignore[arg-type]


@pytest.fixture
def sagemaker() -> SageMakerInMemory:
    return SageMakerInMemory()


@pytest.fixture(scope="session")
def new_sagemaker() -> type[SageMakerInMemory]:
    """For tests that need a fresh account for each example."""
    return SageMakerInMemory


@pytest.fixture(scope="session")
def killed() -> type[BaseException]:
    return Killed
