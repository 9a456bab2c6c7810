"""docs/aws.md names the IAM action of every call to AWS in the core and the glue, and no action that no call needs."""

import ast
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from botocore import xform_name
from botocore.session import get_session

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "aws.md").read_text()
SOURCES = [*(ROOT / "include" / "slipway").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]

# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
_S3 = {
    "HeadBucket": {"ListBucket"},
    "ListObjectsV2": {"ListBucket"},
    "HeadObject": {"GetObject"},
    "CopyObject": {"GetObject", "PutObject"},
    "UploadPartCopy": {"GetObject", "PutObject"},
    "CreateMultipartUpload": {"PutObject"},
    "UploadPart": {"PutObject"},
    "CompleteMultipartUpload": {"PutObject"},
    "DeleteObjects": {"DeleteObject"},
    "ListMultipartUploads": {"ListBucketMultipartUploads"},
    "ListParts": {"ListMultipartUploadParts"},
}
_PREFIXES = {"sagemaker-runtime": "sagemaker"}
#: Methods of other things than AWS clients, which have the names of operations.
_NOT_AWS = {"get_session", "search"}
#: Any caller may: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
_FREE = {"sts:GetCallerIdentity"}


def actions(service: str, operation: str) -> set[str]:
    """The IAM actions that one operation takes."""
    names = _S3.get(operation, {operation}) if service == "s3" else {operation}
    return {f"{_PREFIXES.get(service, service)}:{name}" for name in names}


def opened(tree: ast.AST) -> set[str]:
    """The services whose clients a module opens by name."""
    return {
        str(node.args[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", "") == "client"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def words(tree: ast.AST) -> set[str]:
    """The attributes and texts of a module: operations are called, passed on, or named for a paginator."""
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return attributes | {
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


@cache
def called() -> dict[str, list[set[str]]]:
    """Each method called, with the actions that it takes: one set for each service that has such an operation."""
    trees = [ast.parse(path.read_text()) for path in SOURCES]
    services = set().union(*map(opened, trees))
    named = set().union(*map(words, trees)) - _NOT_AWS
    found: dict[str, list[set[str]]] = {}
    for service in sorted(services):
        for operation in get_session().get_service_model(service).operation_names:
            if xform_name(operation) in named:
                found.setdefault(xform_name(operation), []).append(actions(service, operation) - _FREE)
    return found


def statements(policy: str) -> list[dict[str, Any]]:
    [text] = re.findall(rf"<!-- policy: {policy} -->\n```json\n(.*?)```", PAGE, re.DOTALL)
    found: list[dict[str, Any]] = json.loads(text)["Statement"]
    return found


def allowed(found: list[dict[str, Any]]) -> set[str]:
    return {
        action for each in found for action in ([each["Action"]] if isinstance(each["Action"], str) else each["Action"])
    }


def told_in(text: str) -> set[str]:
    """Actions in running text; the service is named once for several: `logs:DescribeLogStreams`, `GetLogEvents`."""
    found, service = set(), ""
    for prefix, name in re.findall(r"`(?:([a-z0-9-]+):)?([A-Z][A-Za-z0-9]+)`", text):
        service = prefix or service
        found.add(f"{service}:{name}")
    return found


def test_every_call_has_its_action_in_a_policy_or_a_table() -> None:
    tables = PAGE + (ROOT / "docs" / "dags" / "retrain.md").read_text()
    told = allowed(statements("airflow")) | told_in(tables)
    assert len(called()) > 60
    missing = {name: wanted for name, wanted in called().items() if not any(each <= told for each in wanted)}
    assert not missing


def test_airflows_policy_allows_nothing_that_no_call_needs() -> None:
    needed = set().union(*(each for wanted in called().values() for each in wanted))
    ours = [each for each in statements("airflow") if not each["Sid"].endswith("PerAws")]
    assert allowed(ours) - needed == set()


def test_what_the_page_says_of_statements_is_about_statements_that_it_has() -> None:
    names = {each["Sid"] for each in statements("airflow")}
    table = PAGE.partition("| who | uses |")[2].partition("\n\n")[0]
    told = set(re.findall(r"`([A-Z][A-Za-z]+)…?`", table)) - {"InvokeEndpoint"} | set(
        re.findall(r"`(\w+PerAws)`", PAGE)
    )
    assert len(told) > 10
    assert {name for name in told if not any(sid.startswith(name) for sid in names)} == set()
    assert {sid for sid in names if not any(sid.startswith(name) for name in told)} == set()
