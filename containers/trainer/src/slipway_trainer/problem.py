"""What can go wrong in a training, by what has to be done about it."""

from __future__ import annotations


class TrainingError(Exception):
    """Trying again cannot help: the data, the model or the job is not what it should be."""


class BadDataError(TrainingError):
    """The rows cannot be trained on or judged by; the message names the object or column."""


class UnavailableError(Exception):
    """A service did not answer; the same job may succeed later."""
