"""# Monitor

Watches what production receives and answers, and says when it is not what the model was trained on.

| task | what it does |
| --- | --- |
| `probe` | keeps alarms and dashboard as the spec says; asks the golden rows, whose failure has an alarm of its own |
| `collect` | lists the window's captured calls that the champion answered; learns a baseline when there is none |
| `profile` | one task for each hour with new captures (or some hours): counts them into small profiles, each once |
| `judge` | merges the profiles of the window and compares them with the baseline: every feature, every prediction |
| `quality` | joins answers with the outcomes that have arrived since (only with `monitor.labels`) |
| `publish` | history, report; a message when the state *changed* or `quality` failed; CloudWatch, MLflow |
| `react` | wakes `retrain` when `monitor.on_drift` says so, within cool-down and budget, told or not; else skipped |

**States**: `STABLE`, `DRIFTED`, `INCONCLUSIVE` (too few rows; the report says how many are needed), `NO_TRAFFIC`,
`UNREADABLE` (calls that are not the model's), `LEARNING` (no baseline yet).

**Look again** at any window: *Trigger* with `overrides` such as `{"window_from": "2026-01-31T00:00:00Z"}`.
Running twice over the same window changes nothing.
"""

from __future__ import annotations

from airflow.sdk import DAG, CronTriggerTimetable, chain

from slipway.platform import Platform
from slipway.run_overrides import MonitorOverrides
from slipway.spec import ServiceSpec
from slipway_airflow.operators.drift_collect import DriftCollectOperator
from slipway_airflow.operators.drift_judge import DriftJudgeOperator
from slipway_airflow.operators.drift_profile import DriftProfileOperator
from slipway_airflow.operators.drift_publish import DriftPublishOperator
from slipway_airflow.operators.drift_quality import DriftQualityOperator
from slipway_airflow.operators.drift_react import DriftReactOperator
from slipway_airflow.operators.endpoint_probe import EndpointProbeOperator
from slipway_dags.assets import drifted
from slipway_dags.params import Override, checked_by, overrides_param, reason_param
from slipway_dags.services import common_arguments, page, service_dags

PROFILES_AT_ONCE = 4


def monitor(spec: ServiceSpec, platform: Platform) -> DAG:
    """Build ``<service>.monitor``.

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
        **common_arguments(spec, platform, "monitor"),
        description=f"Compare what {spec.endpoint_name('prod')} receives with what {spec.model} was trained on.",
        schedule=CronTriggerTimetable(spec.monitor.schedule, timezone=spec.monitor.timezone),
        params={"reason": reason_param(), "overrides": overrides_param(MonitorOverrides)},
        doc_md=page(__doc__, spec),
    ) as dag:
        collect = DriftCollectOperator(
            task_id="collect",
            window_from=Override(dag, "window_from"),
            window_until=Override(dag, "window_until"),
            pre_execute=checked_by(MonitorOverrides),
            **prod,
        )
        window = collect.output["window"]
        profile = DriftProfileOperator.partial(
            task_id="profile", window=window, max_active_tis_per_dagrun=PROFILES_AT_ONCE, **prod
        ).expand(group=collect.output)
        judge = DriftJudgeOperator(task_id="judge", window=window, trigger_rule="none_failed", **prod)
        publish = DriftPublishOperator(
            task_id="publish",
            window=window,
            judged=judge.output,
            mlflow_conn_id=platform.mlflow_conn_id,
            trigger_rule="all_done",  # a failed `quality` is told, not waited for; without a verdict it fails itself
            **prod,
        )
        react = DriftReactOperator(
            task_id="react", run_key=judge.output["run_key"], outlets=[drifted(spec.name)], **prod
        )
        EndpointProbeOperator(task_id="probe", **prod)
        chain(collect, profile, judge, [publish, react])  # what cannot be told keeps no retraining from being woken
        if spec.monitor.labels:
            chain(collect, DriftQualityOperator(task_id="quality", window=window, **prod), publish)
    return dag


globals().update(service_dags(monitor))
