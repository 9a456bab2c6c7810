"""# Promote

Gives an approved release the production traffic, and takes it back when it is not what it should be.

| task | what it does |
| --- | --- |
| `record` | takes the newest approved release and the lease of the `prod` endpoint; notes what is served now, the way back |
| `launch` | creates the endpoint (first release), or moves all its traffic with one update; waits until that is done |
| `verify` | sends the golden rows to production and compares |
| `finish` | records the champion: in the state, as MLflow's alias `champion`, in the ledger; gives the lease back |
| `roll_back` | runs at the end in any case; undoes whatever was begun and not finished, also when a person marks the run failed |

**It is woken** by the asset of `<service>.deploy`, or started by hand with *Trigger*. Either way it takes the newest
approved release; when none waits, all tasks are skipped and nothing is changed. Pausing this DAG is no way to stop a
promotion: its tasks would not run, `roll_back` included. Mark the run failed instead.

**When it fails**, production serves what it served before, and the run stays red. A first launch that fails is removed;
the ledger holds what would bring it back. A failure after `finish` has recorded the champion is not rolled back: clear
`finish`, and it does what is left to do.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, chain

from slipway.platform import Platform
from slipway.spec import ServiceSpec
from slipway_airflow.operators.endpoint_verify import EndpointVerifyOperator
from slipway_airflow.operators.promotion_begin import PromotionBeginOperator
from slipway_airflow.operators.promotion_finish import PromotionFinishOperator
from slipway_airflow.operators.promotion_launch import PromotionLaunchOperator
from slipway_airflow.operators.promotion_roll_back import PromotionRollBackOperator
from slipway_dags.assets import approved
from slipway_dags.params import Override, PromoteOverrides, checked_by, overrides_param, reason_param
from slipway_dags.services import common_arguments, page, service_dags

ROLL_BACK_TIMEOUT = timedelta(hours=3)


def promote(spec: ServiceSpec, platform: Platform) -> DAG:
    """Build ``<service>.promote``.

    :param spec: The service.
    :param platform: The installation.
    """
    prod = {
        "spec": spec,
        "platform": platform,
        "aws_conn_id": spec.stages.prod.aws_conn_id or platform.aws_conn_id,
        "bucket_conn_id": platform.aws_conn_id,
    }
    with DAG(
        **common_arguments(spec, "promote"),
        description=f"Give an approved release of {spec.model} the production traffic.",
        schedule=[approved(spec.name)],
        params={"reason": reason_param(), "overrides": overrides_param(PromoteOverrides)},
        doc_md=page(__doc__, spec),
    ) as dag:
        size = {
            "instance_type": Override(dag, "instance_type"),
            "instance_count": Override(dag, "instance_count"),
        }
        record = PromotionBeginOperator(task_id="record", pre_execute=checked_by(PromoteOverrides), **prod)
        launch = PromotionLaunchOperator(
            task_id="launch",
            release_id=record.output["release_id"],
            waiter_delay=5,
            waiter_max_attempts=900,
            deferrable=True,
            **size,
            **prod,
        )
        verify = EndpointVerifyOperator(task_id="verify", stage="prod", release_id=launch.output["release_id"], **prod)
        finish = PromotionFinishOperator(
            task_id="finish",
            config_name="{{ ti.xcom_pull(task_ids='launch', key='config_name') }}",
            mlflow_conn_id=platform.mlflow_conn_id,
            **prod,
        )
        roll_back = PromotionRollBackOperator(task_id="roll_back", execution_timeout=ROLL_BACK_TIMEOUT, **size, **prod)
        chain(record, launch, verify, finish, roll_back.as_teardown(setups=record))
    return dag


globals().update(service_dags(promote))
