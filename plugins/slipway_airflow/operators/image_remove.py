"""Take a service's images away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowSkipException

from slipway.errors import InvalidParamsError
from slipway.images.ecr import delete_repository, images_of
from slipway_airflow.operators.endpoint_undeploy import BOTH
from slipway_airflow.operators.service import ServiceOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context


class ImageRemoveOperator(ServiceOperator):
    """Delete the image repository of a service that is no longer deployed anywhere.

    Releases, models, verification and the ledger stay in the artifact bucket: a later deployment builds the same
    image again. Skipped while the run keeps an archive.

    :param archive: Whether the images stay. (templated)
    :param asked: The stage that the run is about; images can go with both only. (templated)
    :param only_say: Whether to say only what would be deleted. (templated)
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the registry's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``repository``, and ``deleted`` or ``would_delete``: tags, and digests of images without one.
    """

    template_fields = aws_template_fields("bucket_conn_id", "archive", "asked", "only_say")

    def __init__(self, *, archive: Any = True, asked: Any = BOTH, only_say: Any = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.archive = archive
        self.asked = asked
        self.only_say = only_say

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, say or delete."""
        name = f"{self.platform.ecr_repository_prefix}/{self.spec.name}"
        if self.archive:
            raise AirflowSkipException(f"The images of {name} are kept.")
        ecr = self.hook.client("ecr")
        images = images_of(ecr, name)
        if images is None:
            raise AirflowSkipException(f"There is no repository {name}.")
        if self.only_say:
            self.log.info("Would delete repository %s with %d images: %s", name, len(images), ", ".join(images))
            return {"repository": name, "would_delete": images}
        self.bucket.note(self.spec.name, TaskRun.of(context), "deleted", f"repository {name}", images=images)
        delete_repository(ecr, name)
        self.log.info("Deleted repository %s with %d images", name, len(images))
        return {"repository": name, "deleted": images}


def require_both(asked: str, *, archive: bool) -> None:
    """Refuse to take images away from under an endpoint.

    :param asked: The stage that the run is about.
    :param archive: Whether the images stay.
    :raises InvalidParamsError: they would go, and one endpoint stays.
    """
    if not archive and asked != BOTH:
        raise InvalidParamsError(
            f"archive is false and stage is {asked!r}: the images serve the other endpoint, too, so they can only go "
            "when both go. Take stage both, or keep the archive. Nothing was deleted."
        )
