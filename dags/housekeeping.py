"""# Housekeeping

Looks every hour for what was left behind, in the whole installation, and puts it right.

| task | what it does |
| --- | --- |
| `lost_canaries` | rolls back promotions whose run, DAG or spec is gone: their lease has run out |
| `old_champions` | takes champions of before off their endpoints, where the end of a promotion did not |
| `approvals` | tells once about approved releases that are not promoted; lets old approvals lapse |
| `idle_dev_endpoints` | deletes dev endpoints that nobody used for `stages.dev.keep_hours` |
| `leftovers` | deletes endpoint configs and models that nothing refers to, and champions of before beyond their time |

**Try it** with *Trigger* and `dry_run`: the tasks' logs say what would be done, and nothing is changed.
Whatever is done is in the ledger of its service; each deletion with the request that brings it back.
What has no Slipway tags, or is referred to by anything, is never touched.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, Param, get_parsing_context

from slipway.errors import InvalidPlatformError
from slipway.platform import load_platform
from slipway.spec import load_services, project_dir
from slipway_airflow.operators.housekeeping_approvals import WaitingApprovalOperator
from slipway_airflow.operators.housekeeping_canaries import LostCanaryOperator
from slipway_airflow.operators.housekeeping_champions import OldChampionOperator
from slipway_airflow.operators.housekeeping_resources import IdleEndpointOperator, LeftoverOperator
from slipway_dags.retries import task_defaults
from slipway_dags.services import TAG

DAG_ID = f"{TAG}.housekeeping"
NEW_FLEET_TIMEOUT = timedelta(hours=3)


def housekeeping() -> DAG | None:
    """Build ``slipway.housekeeping``, for all services; None while ``platform.yaml`` is wrong."""
    try:
        platform = load_platform(project_dir())
    except InvalidPlatformError:
        return None
    catalog = load_services(project_dir())
    with DAG(
        dag_id=DAG_ID,
        description="Put right what was left behind: lost canaries, old champions, stale approvals, leftovers.",
        schedule=CronTriggerTimetable("@hourly", timezone="UTC"),
        catchup=False,
        max_active_runs=1,
        default_args=task_defaults(TAG + "-platform"),
        tags=[TAG, "housekeeping"],
        params={"dry_run": Param(False, type="boolean", title="Dry run", description="Only say what would be done.")},
        doc_md=f"{__doc__}\n## This installation\n\nServices: {', '.join(catalog.specs) or 'none'}\n",
    ) as dag:
        everything: dict[str, Any] = {
            "specs": catalog.specs,
            "protected": tuple(each.name for each in catalog.invalid),
            "platform": platform,
            "aws_conn_id": platform.aws_conn_id,
            "only_say": dag.param("dry_run"),
        }
        # Side by side: what one cannot do does not keep the others from their work.
        LostCanaryOperator(task_id="lost_canaries", execution_timeout=NEW_FLEET_TIMEOUT, **everything)
        OldChampionOperator(task_id="old_champions", execution_timeout=NEW_FLEET_TIMEOUT, **everything)
        WaitingApprovalOperator(task_id="approvals", **everything)
        IdleEndpointOperator(task_id="idle_dev_endpoints", **everything)
        LeftoverOperator(task_id="leftovers", **everything)
    return dag


if get_parsing_context().dag_id in (None, DAG_ID):
    globals()["slipway_housekeeping"] = housekeeping()
