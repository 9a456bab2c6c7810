"""Every failure that Slipway names, in one tree.

    SlipwayError
    ├── PermanentError                 trying again cannot help: the task fails at once
    │   ├── InvalidInputError          what a person gave is wrong
    │   │   ├── InvalidSpecError           a service's YAML
    │   │   ├── InvalidPlatformError       platform.yaml
    │   │   ├── InvalidParamsError         a run's form or conf
    │   │   └── UnknownServiceError        no such service
    │   ├── ModelNotFoundError         no such model, version, alias or run in the registry
    │   ├── ModelNotDeployableError    found, but not READY, without signature, without artifacts
    │   ├── InvalidMLmodelError        the MLmodel file cannot be read
    │   ├── UnsafePathError            a path would leave its folder
    │   ├── DependencyLockError        the requirements cannot be resolved
    │   ├── BaseImageError             the base image does not fit the model
    │   ├── RegistryRefusedError       the image registry refuses: unknown repository, immutable tag
    │   ├── AccessDeniedError          credentials expired, missing or without the right
    │   ├── EndpointFailedError        the endpoint did not become healthy
    │   ├── EndpointRolledBackError    SageMaker went back to the old config by itself
    │   ├── EndpointRollbackFailedError  and could not even do that
    │   ├── EndpointBusyError          somebody else is changing the endpoint
    │   ├── EndpointMissingError       the endpoint is gone
    │   ├── CapacityError              AWS has no such instances just now
    │   ├── VerificationError          the endpoint's answers are not the model's
    │   ├── CanaryFailedError          the challenger was judged worse, or its promotion was given up
    │   ├── ApprovalRejectedError      a person said no
    │   ├── ApprovalTimedOutError      nobody answered
    │   ├── LeaseHeldError             another run may change this endpoint
    │   ├── NoWayBackError             there is no previous champion that could be gone back to
    │   ├── HookRefusedError           a hook of the promotion said no
    │   ├── HookFailedError            it could not be asked, or answered what nobody understands
    │   ├── ContainerFailedError       a container of the team's failed, or left nothing
    │   ├── AlarmMissingError          the alarm that watches a canary is gone
    │   ├── ResourceConflictError      something else already stands under this name
    │   ├── SupersededError            newer work took this one's place
    │   └── AirflowRequestError        Airflow refuses a request of the command line
    ├── TransientError                 the same call may go through later: the task is retried
    │   ├── StorageUnavailableError        S3
    │   ├── RegistryUnavailableError       the image registry
    │   ├── ModelRegistryUnavailableError  MLflow
    │   ├── AwsUnavailableError            any other AWS API
    │   ├── ComputeUnavailableError        nothing to train on just now
    │   ├── StateConflictError             state.json changed between read and write
    │   ├── EngineUnavailableError         the Docker engine of this machine
    │   ├── DatabaseUnavailableError       the database that training rows come from
    │   ├── ThrottledError                 AWS asks to slow down
    │   ├── HookUnavailableError           a hook of the promotion does not answer
    │   └── AirflowUnavailableError        Airflow's API
    └── SandboxError                   the model's own code failed or broke its limits

A message says what was found, what was expected and what to do. Retry or fail is decided by class,
once, in ``dags/slipway_dags/retries.py``.
"""

from __future__ import annotations


class SlipwayError(Exception):
    """Root of all failures that Slipway raises itself."""


class PermanentError(SlipwayError):
    """Trying again cannot help; somebody has to change something first."""


class TransientError(SlipwayError):
    """The same call may go through later."""


class InvalidInputError(PermanentError):
    """What a person gave is wrong."""


class InvalidSpecError(InvalidInputError):
    """A service's YAML does not describe a service."""


class InvalidPlatformError(InvalidInputError):
    """``platform.yaml`` does not describe the installation."""


class InvalidParamsError(InvalidInputError):
    """A run's form or conf holds fields or values that the DAG does not take."""


class UnknownServiceError(InvalidInputError):
    """There is no service of that name."""


class ModelNotFoundError(PermanentError):
    """The registry has no such model, version, alias or run."""


class ModelNotDeployableError(PermanentError):
    """The model version exists but lacks what a deployment needs."""


class InvalidMLmodelError(PermanentError):
    """The MLmodel file cannot be read or does not describe a model."""


class UnsafePathError(PermanentError):
    """A path from outside would leave the folder that it belongs to."""


class DependencyLockError(PermanentError):
    """The model's requirements cannot be resolved for the image's platform."""


class BaseImageError(PermanentError):
    """The base image does not exist or does not fit the model."""


class RegistryRefusedError(PermanentError):
    """The image registry refuses what it understood, such as an unknown repository or an immutable tag."""


class AccessDeniedError(PermanentError):
    """Credentials have expired, are missing or lack the right."""


class EndpointFailedError(PermanentError):
    """The endpoint did not become healthy."""


class EndpointRolledBackError(PermanentError):
    """SageMaker put the endpoint back on its old configuration by itself."""


class EndpointRollbackFailedError(PermanentError):
    """SageMaker could not put the endpoint back; it needs a person."""


class EndpointBusyError(PermanentError):
    """Somebody else is changing the endpoint."""


class EndpointMissingError(PermanentError):
    """The endpoint does not exist any more."""


class CapacityError(PermanentError):
    """AWS has not enough instances of the wanted type just now."""


class VerificationError(PermanentError):
    """The endpoint's answers differ from the model's own."""


class CanaryFailedError(PermanentError):
    """The challenger was judged worse than the champion, or its promotion was given up."""


class ApprovalRejectedError(PermanentError):
    """An approver said no."""


class ApprovalTimedOutError(PermanentError):
    """No approver answered in time."""


class LeaseHeldError(PermanentError):
    """Another run holds the right to change this endpoint."""


class NoWayBackError(PermanentError):
    """There is no previous champion, or it is not kept any more."""


class RollbackUnfinishedError(PermanentError):
    """A rollback was ended, or failed, before it was verified."""


class HookRefusedError(PermanentError):
    """A hook of the promotion said no."""


class HookFailedError(PermanentError):
    """A hook could not be asked, or answered what nobody understands; that is never a yes."""


class ContainerFailedError(PermanentError):
    """A container of the team's does not start, failed, or did not leave what it was run for."""


class AlarmMissingError(PermanentError):
    """The alarm that watches a canary while Airflow is down does not exist any more."""


class ResourceConflictError(PermanentError):
    """Something with other content already stands under a name that is derived from content."""


class SupersededError(PermanentError):
    """Newer work took this one's place."""


class AirflowRequestError(PermanentError):
    """Airflow answers, and refuses the request."""


class StorageUnavailableError(TransientError):
    """S3 does not answer or answers with a server error."""


class RegistryUnavailableError(TransientError):
    """The image registry does not answer or answers with a server error."""


class ModelRegistryUnavailableError(TransientError):
    """The MLflow server does not answer or answers with a server error."""


class AwsUnavailableError(TransientError):
    """An AWS API other than S3 and ECR does not answer or answers with a server error."""


class ComputeUnavailableError(TransientError):
    """AWS has no instances to train on just now, or the account may have no more of them at a time."""


class StateConflictError(TransientError):
    """``state.json`` changed between reading and writing it."""


class EngineUnavailableError(TransientError):
    """This machine has no Docker engine that answers."""


class DatabaseUnavailableError(TransientError):
    """The database that training rows come from does not answer."""


class ThrottledError(TransientError):
    """AWS asks to slow down."""


class HookUnavailableError(TransientError):
    """A hook of the promotion does not answer."""


class AirflowUnavailableError(TransientError):
    """Airflow's API does not answer or answers with a server error."""


class SandboxError(SlipwayError):
    """The model's own code failed in the sandbox or broke its limits."""
