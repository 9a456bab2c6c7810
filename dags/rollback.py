"""# Rollback

Gives the previous champion the production traffic again. For the person on call: *Trigger*, say why, done.

| task | what it does |
| --- | --- |
| `record` | finds the way back and says how long it takes; refuses when there is none; takes the lease of `prod` |
| `switch` | gives the previous champion all traffic, and reads back that it has it |
| `champion` | records the champion: in the state, in the ledger with your name, as MLflow's alias `champion` |
| `settle` | the release that was taken back leaves the endpoint; the champion scales again |
| `verify` | sends the golden rows and compares |
| `give_back` | gives the lease back, however the run went |
| `outcome` | fails when the run ended before `verify` did, so that it is red also when a person ended it |

**Seconds or minutes**: within `promote.keep_warm_minutes` of a promotion the previous champion still stands on the
endpoint, and a change of weights is enough: seconds. Later SageMaker has to start its instances: minutes, during which
the present champion goes on serving. `record` says which it is.

**It refuses** while a promotion is under way (then `slipway abort` is the way back), without a previous champion,
and when `promote.keep_previous_days` are over. After a rollback there is no previous champion: rolling back twice
never brings back what was taken away.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, chain

from slipway.platform import Platform
from slipway.run_overrides import NoOverrides
from slipway.spec import ServiceSpec
from slipway_airflow.operators.endpoint_verify import EndpointVerifyOperator
from slipway_airflow.operators.rollback_begin import RollbackBeginOperator
from slipway_airflow.operators.rollback_outcome import RollbackOutcomeOperator
from slipway_airflow.operators.rollback_record import LeaseReleaseOperator, RollbackRecordOperator
from slipway_airflow.operators.rollback_switch import RollbackSettleOperator, RollbackSwitchOperator
from slipway_dags.params import checked_by, reason_param
from slipway_dags.services import common_arguments, page, service_dags

NEW_FLEET_TIMEOUT = timedelta(hours=2)


def rollback(spec: ServiceSpec, platform: Platform) -> DAG:
    """Build ``<service>.rollback``.

    :param spec: The service.
    :param platform: The installation.
    """
    prod: dict[str, Any] = {
        "spec": spec,
        "platform": platform,
        "aws_conn_id": spec.stages.prod.aws_conn_id or platform.aws_conn_id,
        "bucket_conn_id": platform.aws_conn_id,
    }
    with DAG(
        **common_arguments(spec, platform, "rollback"),
        description=f"Give the previous champion of {spec.model} the production traffic again.",
        schedule=None,
        params={"reason": reason_param()},
        doc_md=page(__doc__, spec),
    ) as dag:
        record = RollbackBeginOperator(task_id="record", pre_execute=checked_by(NoOverrides), **prod)
        way = record.output
        switch = RollbackSwitchOperator(task_id="switch", way=way, execution_timeout=NEW_FLEET_TIMEOUT, **prod)
        champion = RollbackRecordOperator(
            task_id="champion", way=way, switched=switch.output, mlflow_conn_id=platform.mlflow_conn_id, **prod
        )
        settle = RollbackSettleOperator(task_id="settle", way=way, execution_timeout=NEW_FLEET_TIMEOUT, **prod)
        verify = EndpointVerifyOperator(task_id="verify", stage="prod", release_id=way["release_id"], **prod)
        give_back = LeaseReleaseOperator(task_id="give_back", **prod)
        outcome = RollbackOutcomeOperator(task_id="outcome", verified=verify.output)
        chain(record, switch, champion, settle, verify, give_back.as_teardown(setups=record))
        give_back >> outcome.as_teardown(setups=record, on_failure_fail_dagrun=True)
    return dag


globals().update(service_dags(rollback))
