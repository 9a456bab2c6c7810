"""# Retrain

Fits the champion's pipeline again on new data, judges the result beside the champion on the same held-out rows, and
lets only what is better go on.

| task | what it does |
| --- | --- |
| `await_data` | finds new, complete objects, or lands new rows of a table; runs by hand do not wait |
| `prepare` | only when the spec asks: a function or a container makes the rows to train on of those that arrived |
| `validate_data` | Great Expectations judges each new object; bad ones go to quarantine with their reasons |
| `refit` | a process or job of its own unfits the champion, fits it anew, evaluates both, logs all of it to MLflow |
| `gate` | the spec's expressions decide: deploy or hold; the verdict holds every comparison |
| `register` | a new version under the alias `candidate`, which wakes `<service>.deploy` |
| `hold` | a new version, tagged with the reasons; nothing is woken |

**It runs** by the schedule of the spec, on drift, by a message on the spec's queue, by hand or by REST. Pausing this
DAG stops the schedule.
Data is dealt with once: the watermark advances in `register`, `hold` and the quarantine, so a run that fails before
leaves its data to the next one.

**When it fails**, nothing is registered and the champion stays. The failed task's log ends with what was found and what
to do. Clear the task: a training that was logged already is taken as it is, a training job that still runs is found
again, and a version is registered once.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, Param, chain

from slipway.platform import Platform
from slipway.spec import ServiceSpec
from slipway.spec.retrain import RetrainSpec
from slipway.training.overrides import RetrainOverrides
from slipway_airflow.operators.candidate_register import CandidateRegisterOperator
from slipway_airflow.operators.data_prepare import DataPrepareOperator
from slipway_airflow.operators.data_validate import DataValidateOperator
from slipway_airflow.operators.metric_gate import MetricThresholdBranchOperator
from slipway_airflow.operators.model_refit import RetrainOperator
from slipway_airflow.sensors.catalog_new_data import CatalogNewDataSensor
from slipway_airflow.sensors.new_data import NewDataSensor
from slipway_airflow.sensors.s3_new_data import S3NewDataSensor
from slipway_airflow.sensors.table_new_data import TableNewDataSensor
from slipway_dags.assets import arrived, candidate, drifted
from slipway_dags.notices import when_held, when_quarantined
from slipway_dags.params import checked_by, overrides_param, reason_param
from slipway_dags.services import common_arguments, page, service_dags

#: To find an instance, pull the image and fetch the result.
_STARTING_HOURS = 1.0


def retrain(spec: ServiceSpec, platform: Platform) -> DAG:
    """Build ``<service>.retrain``.

    :param spec: The service; it has a section ``retrain``.
    :param platform: The installation.
    """
    settings = spec.retrain
    if settings is None:
        raise ValueError(f"{spec.name} is not retrained")
    ours: dict[str, Any] = {
        "spec": spec,
        "platform": platform,
        "aws_conn_id": platform.aws_conn_id,
        "mlflow_conn_id": platform.mlflow_conn_id,
    }
    limit = timedelta(hours=settings.max_hours)
    with DAG(
        **common_arguments(spec, platform, "retrain"),
        description=f"Fit {spec.model} again on new data; only what is better goes on.",
        schedule=_schedule(spec, platform, settings),
        params={
            "reason": reason_param(),
            "dry_run": Param(False, type="boolean", title="Dry run", description="Train and judge, register nothing."),
            "overrides": overrides_param(RetrainOverrides),
        },
        render_template_as_native_obj=True,
        doc_md=page(__doc__, spec),
    ) as dag:
        await_data = _sensor(settings)(task_id="await_data", pre_execute=checked_by(RetrainOverrides), **ours)
        validate_data = DataValidateOperator(
            task_id="validate_data", report_only=dag.param("dry_run"), tell=when_quarantined(spec, platform), **ours
        )
        refit = RetrainOperator(
            task_id="refit",
            evaluate_only=dag.param("dry_run"),
            execution_timeout=limit + _beside_the_training(settings),
            **ours,
        )
        gate = MetricThresholdBranchOperator(
            task_id="gate",
            candidate=_found("metrics", "candidate"),
            champion=_found("metrics", "champion"),
            improvements=refit.output["improvements"],
            expressions=settings.when,
            mode=f"{{{{ params.overrides.get('deploy') or '{settings.deploy}' }}}}",
            combination=settings.combine,
            on_deploy="register",
            on_hold="hold",
        )
        verdict = "{{ ti.xcom_pull(task_ids='gate', key='verdict') }}"
        register = CandidateRegisterOperator(
            task_id="register", verdict=verdict, as_candidate=True, outlets=[candidate(spec.name)], **ours
        )
        hold = CandidateRegisterOperator(
            task_id="hold",
            verdict=verdict,
            as_candidate=False,
            on_success_callback=when_held(spec, platform) or None,
            **ours,
        )
        prepare = [DataPrepareOperator(task_id="prepare", execution_timeout=limit, **ours)] if settings.prepare else []
        chain(await_data, *prepare, validate_data, refit, gate, [register, hold])
    return dag


def _beside_the_training(settings: RetrainSpec) -> timedelta:
    """What a training that runs elsewhere takes beyond ``max_hours``, which is counted there from its first step."""
    return timedelta(hours=settings.compute.wait_hours + _STARTING_HOURS) if settings.compute else timedelta()


def _found(name: str, key: str) -> str:
    """Template of one part of what ``refit`` found; an ``output`` cannot be indexed twice."""
    return f"{{{{ ti.xcom_pull(task_ids='refit', key='{name}')['{key}'] }}}}"


def _sensor(settings: RetrainSpec) -> type[NewDataSensor]:
    """The sensor of the spec's source."""
    if settings.data.s3:
        return S3NewDataSensor
    return TableNewDataSensor if settings.data.jdbc else CatalogNewDataSensor


def _schedule(spec: ServiceSpec, platform: Platform, settings: RetrainSpec) -> Any:
    """By time, by drift and by new data: whichever comes first."""
    causes: Any = drifted(spec.name)
    if settings.data.arrivals_queue:
        causes |= arrived(spec.name, settings.data.arrivals_queue, platform.aws_conn_id)
    if settings.schedule is None:
        return causes if settings.data.arrivals_queue else [causes]
    timetable = CronTriggerTimetable(settings.schedule, timezone=settings.timezone)
    return AssetOrTimeSchedule(timetable=timetable, assets=causes)


globals().update(service_dags(retrain, wanted=lambda spec: spec.retrain is not None))
