"""How handlers of API actions are put in the place of moto's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker.exceptions import AWSValidationException
from moto.sagemaker.models import SageMakerModelBackend
from moto.sagemaker.responses import SageMakerResponse

from slipway_localaws.request_validation import broken_constraints
from slipway_localaws.sagemaker.planning import Parameters

Handler = Callable[[SageMakerModelBackend, Parameters], dict[str, Any] | None]


def as_action(handler: Handler) -> Callable[[SageMakerResponse], ActionResult]:
    """What moto calls for an action: parameters checked against the published model, then the handler."""

    def action(self: SageMakerResponse) -> ActionResult:
        parameters = dict(self.params)
        if problem := broken_constraints("sagemaker", self._get_action(), parameters):
            raise AWSValidationException(problem)
        result = handler(self.sagemaker_backend, parameters)
        return EmptyResult() if result is None else ActionResult(result)

    return action
