"""# Promote

Gives an approved release the production traffic, and takes it back when it is not what it should be.

| task | what it does |
| --- | --- |
| `record` | takes the newest approved release and the lease of `prod`; notes the plan, and what is served now |
| `prepare` | brings the challenger onto the endpoint at weight 0; a first release gets the endpoint for itself |
| `verify` | sends the golden rows straight to the challenger and compares |
| `step_1.shift` … | waits while it is held; scales the challenger and gives it the step's share of the traffic |
| `step_1.judge` … | compares both variants' errors, slow answers and refusals, until the step passes or fails |
| `finish.shift`, `finish.judge` | all traffic, judged against the champion of before, which stays warm |
| `step_1.hook_…`, `finish.after_hook_…` | asks one hook of `promote.hooks`; a no takes the release back |
| `step_1.gate`, `finish.after_gate` | asks a person, see *Required Actions*; only where `promote.gates` says so |
| `step_1.guard` … | judges the traffic of the step before, until the gate beside it is answered |
| `finish.champion` | records the champion: in the state, as MLflow's alias `champion`, in the ledger |
| `finish.retire` | after the warm time the old champion leaves; the new one scales |
| `roll_back` | undoes whatever was begun and not finished, also when a person marks the run failed |
| `outcome` | fails when the release was taken back, so that the run ends red whoever ended it |

A promotion without a plan (the first launch, strategy `all_at_once`) skips the steps.

**It is woken** by the asset of `<service>.deploy`, or started by hand with *Trigger*. Either way it takes the newest
approved release; when none waits, all tasks are skipped and nothing is changed. Pausing this DAG is no way to stop a
promotion: its tasks would not run, `roll_back` included. Use `slipway hold`, `abort` and `approve-now`, or mark the run
failed.

**When a step stays unsettled** for `max_hold_hours`, `judge` asks people (`on_inconclusive: ask`): the question is in
its log and its XCom `question`. `slipway approve-now` lets the step go on, `slipway abort` takes the release back, and
so does no answer within `approval.timeout_hours`. `slipway hold` stops these clocks until `slipway resume`.

**When it fails**, production serves what it served before, and the run stays red; its note says why. The champion's
size and traffic come back in the first calls, then its config. A first launch that fails is removed; the ledger holds
what would bring it back. A failure after `finish.champion` is not rolled back: clear the task, and it does what is left
to do.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, TaskGroup, TriggerRule, chain

from slipway.platform import Platform
from slipway.run_overrides import PromoteOverrides
from slipway.spec import ServiceSpec
from slipway.spec.hooks import AFTER
from slipway_airflow.operators.canary import FINAL
from slipway_airflow.operators.canary_judge import CanaryJudgeOperator
from slipway_airflow.operators.canary_prepare import CanaryPrepareOperator
from slipway_airflow.operators.canary_shift import CanaryShiftOperator
from slipway_airflow.operators.endpoint_verify import EndpointVerifyOperator
from slipway_airflow.operators.promotion_begin import PromotionBeginOperator
from slipway_airflow.operators.promotion_finish import PromotionFinishOperator
from slipway_airflow.operators.promotion_outcome import PromotionOutcomeOperator
from slipway_airflow.operators.promotion_retire import PromotionRetireOperator
from slipway_airflow.operators.promotion_roll_back import PromotionRollBackOperator
from slipway_dags.asking import asking
from slipway_dags.assets import approved
from slipway_dags.params import Override, checked_by, overrides_param, reason_param
from slipway_dags.services import common_arguments, page, service_dags

ROLL_BACK_TIMEOUT = timedelta(hours=3)
SHIFT_TIMEOUT = timedelta(hours=1)
# A step that was skipped (no plan, or a shorter one) does not skip what follows.
WHATEVER_WAS_SKIPPED = TriggerRule.NONE_FAILED


def promote(spec: ServiceSpec, platform: Platform) -> DAG:
    """Build ``<service>.promote``.

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
        **common_arguments(spec, platform, "promote"),
        description=f"Give an approved release of {spec.model} the production traffic.",
        schedule=[approved(spec.name)],
        params={"reason": reason_param(), "overrides": overrides_param(PromoteOverrides)},
        doc_md=page(__doc__, spec),
    ) as dag:
        size = {
            "instance_type": Override(dag, "instance_type"),
            "instance_count": Override(dag, "instance_count"),
        }
        waiting = {"waiter_delay": 3, "waiter_max_attempts": 1500, "deferrable": True}
        record = PromotionBeginOperator(
            task_id="record",
            pre_execute=checked_by(PromoteOverrides),
            weights_pct=Override(dag, "weights_pct"),
            **prod,
        )
        release_id = record.output["release_id"]
        prepare = CanaryPrepareOperator(task_id="prepare", release_id=release_id, **waiting, **size, **prod)
        verify = EndpointVerifyOperator(
            task_id="verify", stage="prod", release_id=release_id, variant=prepare.output["variant"], **prod
        )
        steps = [_step(number, spec, platform, prod) for number in range(1, _planned_steps(spec) + 1)]
        with TaskGroup("finish") as finish:
            shift, judge = _shift_and_judge(FINAL, spec, prod)
            champion = PromotionFinishOperator(
                task_id="champion",
                config_name="{{ ti.xcom_pull(task_ids='prepare', key='config_name') }}",
                mlflow_conn_id=platform.mlflow_conn_id,
                trigger_rule=WHATEVER_WAS_SKIPPED,
                **prod,
            )
            retire = PromotionRetireOperator(task_id="retire", release_id=release_id, **waiting, **size, **prod)
            chain(*asking(FINAL, spec, platform, prod), shift, judge)
            chain(judge, *asking(AFTER, spec, platform, prod), champion, retire)
        roll_back = PromotionRollBackOperator(task_id="roll_back", execution_timeout=ROLL_BACK_TIMEOUT, **size, **prod)
        outcome = PromotionOutcomeOperator(task_id="outcome", undone_because=roll_back.output["undone_because"])
        chain(record, prepare, verify, *steps, finish, roll_back.as_teardown(setups=record))
        roll_back >> outcome.as_teardown(setups=record, on_failure_fail_dagrun=True)
    return dag


def _planned_steps(spec: ServiceSpec) -> int:
    return len(spec.promote.weights_pct) if spec.promote.strategy == "canary" else 0


def _step(number: int, spec: ServiceSpec, platform: Platform, prod: dict[str, Any]) -> TaskGroup:
    """One weight of the plan. Steps are numbered; what a number means is in the plan that ``record`` froze."""
    with TaskGroup(f"step_{number}") as group:
        chain(*asking(number, spec, platform, prod), *_shift_and_judge(number, spec, prod))
    return group


def _shift_and_judge(
    step: int | str, spec: ServiceSpec, prod: dict[str, Any]
) -> tuple[CanaryShiftOperator, CanaryJudgeOperator]:
    plan = spec.promote
    longest = timedelta(minutes=plan.bake_minutes, hours=plan.max_hold_hours + spec.approval.timeout_hours + 1)
    shift = CanaryShiftOperator(
        task_id="shift",
        step=step,
        execution_timeout=SHIFT_TIMEOUT,
        deferrable=True,
        trigger_rule=WHATEVER_WAS_SKIPPED,
        **prod,
    )
    judge = CanaryJudgeOperator(task_id="judge", step=step, execution_timeout=longest, deferrable=True, **prod)
    return shift, judge


globals().update(service_dags(promote))
