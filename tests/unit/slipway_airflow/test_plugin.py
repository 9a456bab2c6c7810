from __future__ import annotations

import sys

from airflow import plugins_manager


def test_airflow_loads_the_plugin_and_nothing_under_a_bare_name() -> None:
    plugins, errors = plugins_manager._get_plugins()
    assert errors == {}
    assert "slipway" in {plugin.name for plugin in plugins}
    bare = {"endpoint", "service", "stage", "s3_sync", "mlflow_registry", "slipway_aws", "task_run"}
    assert not bare & set(sys.modules)
