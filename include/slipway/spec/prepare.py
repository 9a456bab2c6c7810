"""What makes the rows to train on of the rows that arrive: a function or a container."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from slipway.errors import BaseImageError
from slipway.images.reference import parse_reference
from slipway.spec.section import Section, TextRule, broken_rule
from slipway.spec.serving import Environment

# The limits of ContainerEntrypoint and ContainerArguments in SageMaker's API of processing jobs.
_MOST_WORDS = 100
Word = Annotated[str, TextRule("text without control characters", r"[^\x00-\x1f]*", 256)]
ImageName = Annotated[
    str, TextRule("the name of an image, such as registry.example.com/clean:4", r"[A-Za-z0-9]\S*", 255)
]


class PrepareSpec(Section):
    """What makes the rows to train on of those that arrive, before they are validated: a `function` or an `image`."""

    function: Annotated[str, TextRule("file.py:function", r"[\w/-]+\.py:\w+", 200)] | None = Field(
        None, description="Function in `retrainers/`, as `file.py:function`: gets the rows of one object as a frame."
    )
    image: ImageName | None = Field(
        None,
        description="Image of a container, run by the worker's Docker engine: files below `/opt/ml/processing/input` "
        "become files below `/opt/ml/processing/output`.",
    )
    command: tuple[Word, ...] = Field(
        (), strict=False, max_length=_MOST_WORDS, description="What is run in place of the image's entrypoint."
    )
    arguments: tuple[Word, ...] = Field(
        (), strict=False, max_length=_MOST_WORDS, description="Arguments of the command, or of the image's entrypoint."
    )
    environment: Environment = Field(
        {}, max_length=100, description="Environment variables of the container. Never secrets."
    )

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        given = [name for name in ("function", "image") if getattr(self, name) is not None]
        if len(given) != 1:
            found = "; found function and image" if given else ""
            raise broken_rule(f"exactly one of function and image{found}", *given[1:])
        of_image = sorted(self.changed_fields() & {"command", "arguments", "environment"})
        if of_image and self.image is None:
            raise broken_rule(f"no {of_image[0]} beside function: it is about an image", of_image[0])
        if self.image is not None:
            _check_image(self.image)
        return self


def _check_image(name: str) -> None:
    try:
        parse_reference(name)
    except BaseImageError as error:
        raise broken_rule("the name of an image, such as registry.example.com/clean:4", "image") from error
