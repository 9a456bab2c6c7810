"""The API actions on models, endpoint configs and endpoints.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_Operations_Amazon_SageMaker_Service.html
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from moto.sagemaker.exceptions import AWSValidationException
from moto.sagemaker.models import SageMakerModelBackend
from moto.sagemaker.responses import SageMakerResponse
from moto.sagemaker.utils import arn_formatter

from slipway_localaws.autoscaling.targets import check_update, deregister_all
from slipway_localaws.hosting.controller import Controller
from slipway_localaws.hosting.images import ImageRefusedError, ImageStore
from slipway_localaws.hosting.plan import DeploymentPlan, EndpointKey
from slipway_localaws.patching import add_action, replace
from slipway_localaws.sagemaker.actions import as_action
from slipway_localaws.sagemaker.planning import Parameters, plan_deployment
from slipway_localaws.sagemaker.records import HostedEndpoint, StoredEndpointConfig, StoredModel, VariantState

_REPLACED = (
    "create_model", "create_endpoint_config", "create_endpoint", "describe_endpoint", "delete_endpoint",
    "update_endpoint_weights_and_capacities", "add_tags", "list_models",
)  # fmt: skip


def install(controller: Controller, images: ImageStore) -> None:
    """Put these actions in the place of moto's.

    Args:
        controller: hosts the endpoints.
        images: finds the models' images.
    """
    actions = Actions(controller, images)
    for name in _REPLACED:
        replace(SageMakerResponse, name, as_action(getattr(actions, name)))
    add_action(SageMakerResponse, "update_endpoint", as_action(actions.update_endpoint))


class Actions:
    """The handlers; each gets the backend of the caller's account and region, and checked parameters."""

    def __init__(self, controller: Controller, images: ImageStore) -> None:
        self._controller = controller
        self._images = images

    def create_model(self, backend: SageMakerModelBackend, parameters: Parameters) -> dict[str, Any]:
        """CreateModel: refuses images that SageMaker would refuse."""
        name = parameters["ModelName"]
        arn = arn_formatter("model", name, backend.account_id, backend.region_name)
        if name in backend._models:
            raise AWSValidationException(f'Cannot create already existing model "{arn}".')
        if bool(parameters.get("PrimaryContainer")) == bool(parameters.get("Containers")):
            raise AWSValidationException("You must provide exactly one of: PrimaryContainer, Containers.")
        for container in (parameters.get("PrimaryContainer"), *(parameters.get("Containers") or ())):
            if container and container.get("Image"):
                self._check_image(backend, container["Image"])
        model = StoredModel(backend.account_id, backend.region_name, parameters)
        backend._models[name] = model
        return {"ModelArn": model.arn}

    def list_models(self, backend: SageMakerModelBackend, parameters: Parameters) -> dict[str, Any]:
        """ListModels: newest first, unless asked otherwise; pages."""
        models = [model for model in backend._models.values() if parameters.get("NameContains", "") in model.model_name]
        before, after = _naive(parameters.get("CreationTimeBefore")), _naive(parameters.get("CreationTimeAfter"))
        models = [model for model in models if before is None or model.creation_time < before]
        models = [model for model in models if after is None or model.creation_time > after]
        by_name = parameters.get("SortBy") == "Name"
        models.sort(key=lambda model: model.model_name if by_name else model.creation_time)
        if parameters.get("SortOrder", "Descending") == "Descending":
            models.reverse()
        start, size = int(parameters.get("NextToken") or 0), int(parameters.get("MaxResults") or 10)
        page: dict[str, Any] = {
            "Models": [
                {"ModelName": model.model_name, "ModelArn": model.arn, "CreationTime": model.creation_time}
                for model in models[start : start + size]
            ]
        }
        if len(models) > start + size:
            page["NextToken"] = str(start + size)
        return page

    def create_endpoint_config(self, backend: SageMakerModelBackend, parameters: Parameters) -> dict[str, Any]:
        """CreateEndpointConfig: names are unique, variants have distinct names and models that exist."""
        name = parameters["EndpointConfigName"]
        arn = arn_formatter("endpoint-config", name, backend.account_id, backend.region_name)
        if name in backend.endpoint_configs:
            raise AWSValidationException(f'Cannot create already existing endpoint configuration "{arn}".')
        variants = [*parameters["ProductionVariants"], *(parameters.get("ShadowProductionVariants") or ())]
        names = [variant["VariantName"] for variant in variants]
        for each in {each for each in names if names.count(each) > 1}:
            raise AWSValidationException(f'The variant name "{each}" was non-unique within the request.')
        for variant in variants:
            _check_variant(backend, variant)
        config = StoredEndpointConfig(backend.account_id, backend.region_name, parameters)
        backend.endpoint_configs[name] = config
        return {"EndpointConfigArn": config.endpoint_config_arn}

    def create_endpoint(self, backend: SageMakerModelBackend, parameters: Parameters) -> dict[str, Any]:
        """CreateEndpoint: status Creating, then InService or Failed."""
        key = EndpointKey(backend.account_id, backend.region_name, parameters["EndpointName"])
        if key.name in backend.endpoints:
            existing = backend.endpoints[key.name]
            raise AWSValidationException(f'Cannot create already existing endpoint "{existing.arn}".')
        plan = self._plan(backend, parameters["EndpointConfigName"])
        endpoint = HostedEndpoint(key, plan, list(parameters.get("Tags") or []))
        endpoint.last_deployment_config = parameters.get("DeploymentConfig")
        backend.endpoints[key.name] = endpoint
        self._controller.create(endpoint)
        return {"EndpointArn": endpoint.arn}

    def describe_endpoint(self, backend: SageMakerModelBackend, parameters: Parameters) -> dict[str, Any]:
        """DescribeEndpoint."""
        return _find(backend, parameters["EndpointName"]).response_object

    def update_endpoint(self, backend: SageMakerModelBackend, parameters: Parameters) -> dict[str, Any]:
        """UpdateEndpoint: a new fleet for all variants; the old one serves until the new one is healthy."""
        endpoint = _in_service(backend, parameters["EndpointName"])
        plan = self._plan(backend, parameters["EndpointConfigName"])
        # An update needs the old config as well: https://github.com/hashicorp/terraform-provider-aws/issues/40048
        self._config(backend, endpoint.endpoint_config_name)
        if plan.config_name == endpoint.endpoint_config_name:
            raise AWSValidationException(
                f'Cannot update endpoint "{endpoint.arn}" with the endpoint configuration "{plan.config_name}" that it '
                "already uses."
            )
        check_update(endpoint, plan)
        variants = {variant.name: VariantState(variant) for variant in plan.variants}
        if parameters.get("RetainAllVariantProperties"):
            _retain(endpoint, variants, parameters.get("ExcludeRetainedVariantProperties") or [])
        if not parameters.get("RetainDeploymentConfig"):
            endpoint.last_deployment_config = parameters.get("DeploymentConfig")
        self._controller.update(endpoint, plan, variants)
        return {"EndpointArn": endpoint.arn}

    def update_endpoint_weights_and_capacities(
        self, backend: SageMakerModelBackend, parameters: Parameters
    ) -> dict[str, Any]:
        """UpdateEndpointWeightsAndCapacities: what is left out keeps its value."""
        endpoint = _in_service(backend, parameters["EndpointName"])
        wanted = parameters["DesiredWeightsAndCapacities"]
        names = [each["VariantName"] for each in wanted]
        for name in names:
            if names.count(name) > 1:
                raise AWSValidationException(f'The variant name "{name}" was non-unique within the request.')
            if name not in endpoint.variants:
                raise AWSValidationException(
                    f'The variant name(s) "{name}" is/are not present within endpoint configuration '
                    f'"{endpoint.endpoint_config_name}".'
                )
        for each in wanted:
            state = endpoint.variants[each["VariantName"]]
            if each.get("DesiredWeight") is not None:
                state.desired_weight = float(each["DesiredWeight"])
            if each.get("DesiredInstanceCount") is not None:
                state.desired_count = int(each["DesiredInstanceCount"])
        self._controller.scale(endpoint)
        return {"EndpointArn": endpoint.arn}

    def delete_endpoint(self, backend: SageMakerModelBackend, parameters: Parameters) -> None:
        """DeleteEndpoint: status Deleting while the containers stop, then gone."""
        endpoint = _find(backend, parameters["EndpointName"])
        if endpoint.endpoint_status in {"Creating", "Updating", "SystemUpdating", "RollingBack"}:
            raise AWSValidationException(f'Cannot update in-progress endpoint "{endpoint.arn}".')
        if endpoint.endpoint_status != "Deleting":
            deregister_all(endpoint)

            def forget() -> None:
                backend.endpoints.pop(endpoint.endpoint_name, None)

            self._controller.delete(endpoint, forget)

    def add_tags(self, backend: SageMakerModelBackend, parameters: Parameters) -> dict[str, Any]:
        """AddTags: a key that is there already gets the new value."""
        resource = backend._get_resource_from_arn(parameters["ResourceArn"])
        if resource is None:
            raise AWSValidationException(f'Could not find resource "{parameters["ResourceArn"]}".')
        given = {each["Key"] for each in parameters["Tags"]}
        resource.tags = [each for each in resource.tags if each["Key"] not in given] + list(parameters["Tags"])
        return {"Tags": resource.tags}

    def _check_image(self, backend: SageMakerModelBackend, image: str) -> None:
        try:
            self._images.resolve(image, account=backend.account_id, region=backend.region_name)
        except ImageRefusedError as error:
            raise AWSValidationException(str(error)) from None

    def _plan(self, backend: SageMakerModelBackend, config_name: str) -> DeploymentPlan:
        return plan_deployment(backend, self._config(backend, config_name), self._images)

    @staticmethod
    def _config(backend: SageMakerModelBackend, config_name: str) -> StoredEndpointConfig:
        config = backend.endpoint_configs.get(config_name)
        if not isinstance(config, StoredEndpointConfig):
            arn = arn_formatter("endpoint-config", config_name, backend.account_id, backend.region_name)
            raise AWSValidationException(f'Could not find endpoint configuration "{arn}".')
        return config


def _naive(moment: datetime | None) -> datetime | None:
    """A time as moto keeps it: in UTC, without saying so."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment is not None and moment.tzinfo else moment


def _find(backend: SageMakerModelBackend, name: str) -> HostedEndpoint:
    endpoint = backend.endpoints.get(name)
    if not isinstance(endpoint, HostedEndpoint):
        arn = arn_formatter("endpoint", name, backend.account_id, backend.region_name)
        raise AWSValidationException(f'Could not find endpoint "{arn}".')
    return endpoint


def _in_service(backend: SageMakerModelBackend, name: str) -> HostedEndpoint:
    endpoint = _find(backend, name)
    if endpoint.endpoint_status == "Failed":
        raise AWSValidationException(
            f'Cannot update endpoint "{endpoint.arn}" with status "Failed": delete it instead.'
        )
    if endpoint.endpoint_status not in {"InService", "UpdateRollbackFailed"}:
        raise AWSValidationException(f'Cannot update in-progress endpoint "{endpoint.arn}".')
    return endpoint


def _check_variant(backend: SageMakerModelBackend, variant: Parameters) -> None:
    model = variant.get("ModelName")
    if model is not None and model not in backend._models:
        arn = arn_formatter("model", model, backend.account_id, backend.region_name)
        raise AWSValidationException(f'Could not find model "{arn}".')
    if not (variant.get("InstanceType") or variant.get("ServerlessConfig") or variant.get("InstancePools")):
        raise AWSValidationException(
            f'ProductionVariant "{variant["VariantName"]}" needs either an InstanceType or a ServerlessConfig.'
        )
    if variant.get("InstanceType") and not variant.get("InitialInstanceCount"):
        raise AWSValidationException(
            f'InitialInstanceCount is required for the ProductionVariant "{variant["VariantName"]}".'
        )


def _retain(endpoint: HostedEndpoint, variants: dict[str, VariantState], excluded: list[dict[str, str]]) -> None:
    """Carry weights and counts of the running variants over to those of the same name.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html
    """
    dropped = {each["VariantPropertyType"] for each in excluded}
    for name, state in variants.items():
        running = endpoint.variants.get(name)
        if running is None:
            continue
        if "DesiredWeight" not in dropped:
            state.current_weight = state.desired_weight = running.desired_weight
        if "DesiredInstanceCount" not in dropped:
            state.current_count = state.desired_count = running.desired_count
