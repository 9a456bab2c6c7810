"""# Undeploy

Takes a service out of SageMaker. By default it only says what would be deleted: clear `dry_run` to do it.

| task | what it does |
| --- | --- |
| `prod` | deletes `<service>-prod`: scaling, alarms, endpoint, its configs and models; takes alias `champion` away |
| `dev` | the same for `<service>-dev` |
| `images` | with `archive` cleared: deletes the service's image repository |

**What stays**: model versions in MLflow, the mirrored models, releases, captured traffic, states and the ledger in the
artifact bucket. With `archive` the images stay, too, and *deploy* brings the same release back without building it.
Each deletion is in the ledger first, with the request that brings the thing back.

**It refuses** while a promotion is under way or another run holds the endpoint's lease, and it leaves alone what does
not have this service's tags or is used by anything else. Undeploy before you delete the service's file: without it
there is no such DAG. The schedules go on until you pause them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Param, TriggerRule

from slipway.platform import Platform
from slipway.run_overrides import NoOverrides
from slipway.spec import ServiceSpec
from slipway_airflow.operators.endpoint_undeploy import BOTH, EndpointUndeployOperator
from slipway_airflow.operators.image_remove import ImageRemoveOperator, require_both
from slipway_dags.params import checked_by, reason_param
from slipway_dags.services import common_arguments, page, service_dags

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.spec import StageName

DELETION_TIMEOUT = timedelta(hours=2)


def undeploy(spec: ServiceSpec, platform: Platform) -> DAG:
    """Build ``<service>.undeploy``.

    :param spec: The service.
    :param platform: The installation.
    """
    with DAG(
        **common_arguments(spec, platform, "undeploy"),
        description=f"Take {spec.model} out of SageMaker; says first what would be deleted.",
        schedule=None,
        params={
            "dry_run": Param(True, type="boolean", title="Dry run", description="Only say what would be deleted."),
            "stage": Param(
                BOTH, type="string", enum=[BOTH, "dev", "prod"], title="Stage", description="Which endpoint."
            ),
            "archive": Param(True, type="boolean", title="Archive", description="Keep the images."),
            "reason": reason_param(),
        },
        doc_md=page(__doc__, spec),
    ) as dag:
        common: dict[str, Any] = {
            "spec": spec,
            "platform": platform,
            "bucket_conn_id": platform.aws_conn_id,
            "only_say": dag.param("dry_run"),
            "asked": dag.param("stage"),
            "pre_execute": _check,
        }

        def endpoint(stage: StageName) -> EndpointUndeployOperator:
            return EndpointUndeployOperator(
                task_id=stage,
                stage=stage,
                mlflow_conn_id=platform.mlflow_conn_id,
                aws_conn_id=spec.stage(stage).aws_conn_id or platform.aws_conn_id,
                execution_timeout=DELETION_TIMEOUT,
                **common,
            )

        images = ImageRemoveOperator(
            task_id="images",
            archive=dag.param("archive"),
            aws_conn_id=platform.aws_conn_id,
            trigger_rule=TriggerRule.NONE_FAILED,
            **common,
        )
        [endpoint("prod"), endpoint("dev")] >> images
    return dag


def _check(context: Context) -> None:
    checked_by(NoOverrides)(context)
    require_both(str(context["params"]["stage"]), archive=bool(context["params"]["archive"]))


globals().update(service_dags(undeploy))
