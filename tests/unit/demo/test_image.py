from __future__ import annotations

import pytest

from demo.image import is_jvm


@pytest.mark.parametrize(
    "name",
    [
        "usr/bin/java",
        "opt/java/lib/server/libjvm.so",
        "opt/slipway/deps/pyspark/jars/spark-core.jar",
        "opt/slipway/deps/pyspark/__init__.py",
        "opt/slipway/deps/py4j/__init__.py",
    ],
)
def test_a_java_runtime_and_spark_are_recognised(name: str) -> None:
    assert is_jvm(name)


@pytest.mark.parametrize(
    "name",
    ["opt/slipway/deps/mlflow/pyspark/__init__.py", "opt/slipway/model/sparkml/metadata/part-0", "usr/bin/javac.py"],
)
def test_what_only_speaks_of_them_is_not(name: str) -> None:
    assert not is_jvm(name)
