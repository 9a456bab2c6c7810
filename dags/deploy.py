"""# Deploy

Takes one version of the registered model and makes a **release** of it: the model's files, its locked dependencies and
the model server in one image, pinned by digest. The release is launched on the service's `dev` endpoint, verified
against the answers of the original model, and put before an approver. An approved release wakes `<service>.promote`.

| task | what it does |
| --- | --- |
| `resolve_model` | turns the alias, version or run id into one version; refuses what cannot be deployed |
| `sync_artifacts` | mirrors the model's files from MLflow into the artifact bucket; only what differs is copied |
| `patch_mlmodel` | locks the dependencies and pins them in the model's environment files; gives the release its id |
| `build_image` | asks the original model for golden answers, builds the image without Docker, pushes what is missing |
| `deploy_dev` | creates or updates the `dev` endpoint and waits until it serves this release |
| `verify_dev` | sends the golden rows and compares; the report becomes the text of the approval |
| `approve` | waits for an approver, see *Required Actions*; a rejection or a time-out ends the run red |
| `announce` | wakes `<service>.promote`, unless this release already is the champion |

**Run it** with *Trigger* and no changes: it deploys the version that carries the alias `candidate`.
A second run with nothing new changes nothing: every task finds its work done.
A second run while the first waits for its approval begins when the first has ended;
`slipway deploy <service> --supersede` rejects the one that waits.

**When it fails**, the failed task's log ends with what was found, what was expected and what to do. After that is put
right, clear the failed task: it takes up its own work where it stopped.
"""

from __future__ import annotations

from airflow.sdk import DAG, chain

from slipway.platform import Platform
from slipway.run_overrides import DeployOverrides
from slipway.spec import ServiceSpec
from slipway_airflow.operators.ecr_image_build import EcrImageBuildOperator
from slipway_airflow.operators.endpoint_verify import EndpointVerifyOperator
from slipway_airflow.operators.mlmodel_patch import MLmodelPatchOperator
from slipway_airflow.operators.model_resolve import ModelResolveOperator
from slipway_airflow.operators.release_announce import ReleaseAnnounceOperator
from slipway_airflow.operators.release_approval import ReleaseApprovalOperator
from slipway_airflow.operators.s3_sync import S3SyncOperator
from slipway_airflow.operators.sagemaker_deploy import SageMakerDeployOperator
from slipway_dags.assets import approved, candidate
from slipway_dags.notices import when_waiting
from slipway_dags.params import Override, checked_by, overrides_param, reason_param, version_param
from slipway_dags.services import common_arguments, invalid_dags, page, service_dags


def deploy(spec: ServiceSpec, platform: Platform) -> DAG:
    """Build ``<service>.deploy``.

    :param spec: The service.
    :param platform: The installation.
    """
    service = {"spec": spec, "platform": platform}
    ours = {"aws_conn_id": platform.aws_conn_id}
    dev = {"aws_conn_id": spec.stages.dev.aws_conn_id or platform.aws_conn_id, "bucket_conn_id": platform.aws_conn_id}

    with DAG(
        **common_arguments(spec, platform, "deploy"),
        description=f"Make a release of {spec.model}, launch and verify it in dev, ask for its approval.",
        schedule=[candidate(spec.name)] if spec.retrain else None,
        params={
            "model_version": version_param(),
            "reason": reason_param(),
            "overrides": overrides_param(DeployOverrides),
        },
        doc_md=page(__doc__, spec),
    ) as dag:
        resolve_model = ModelResolveOperator(
            task_id="resolve_model",
            pre_execute=checked_by(DeployOverrides),
            model=spec.model,
            version=dag.param("model_version"),
            allow_missing_signature=spec.serving.allow_missing_signature,
            mlflow_conn_id=platform.mlflow_conn_id,
            **ours,
        )
        version = "{{ ti.xcom_pull(task_ids='resolve_model', key='version') }}"
        sync_artifacts = S3SyncOperator(
            task_id="sync_artifacts",
            source_uri=resolve_model.output["artifact_uri"],
            destination_uri=f"s3://{platform.artifact_bucket}/models/{spec.model}/v{version}/",
            delete=True,
            **ours,
        )
        patch_mlmodel = MLmodelPatchOperator(
            task_id="patch_mlmodel",
            model_uri=sync_artifacts.output["destination_uri"],
            manifest_digest=sync_artifacts.output["manifest_digest"],
            relock=Override(dag, "relock"),
            **service,
            **ours,
        )
        build_image = EcrImageBuildOperator(
            task_id="build_image",
            source=resolve_model.output,
            patched=patch_mlmodel.output,
            **service,
            **ours,
        )
        deploy_dev = SageMakerDeployOperator(
            task_id="deploy_dev",
            stage="dev",
            release_id=build_image.output["release_id"],
            instance_type=Override(dag, "instance_type"),
            instance_count=Override(dag, "instance_count"),
            waiter_delay=3,
            waiter_max_attempts=1500,
            deferrable=True,
            **service,
            **dev,
        )
        verify_dev = EndpointVerifyOperator(
            task_id="verify_dev",
            stage="dev",
            release_id=deploy_dev.output["release_id"],
            **service,
            **dev,
        )
        approve = ReleaseApprovalOperator(
            task_id="approve",
            release_id=verify_dev.output["release_id"],
            report=verify_dev.output["markdown"],
            notifiers=when_waiting(spec, platform),
            **service,
            **ours,
        )
        announce = ReleaseAnnounceOperator(
            task_id="announce",
            release_id=approve.output["release_id"],
            outlets=[approved(spec.name)],
            **service,
            **ours,
        )
        chain(
            resolve_model,
            sync_artifacts,
            patch_mlmodel,
            build_image,
            deploy_dev,
            verify_dev,
            approve,
            announce,
        )
    return dag


globals().update(service_dags(deploy))
globals().update(invalid_dags())
