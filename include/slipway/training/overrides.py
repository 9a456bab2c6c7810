"""What one retraining may do differently from the spec."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Scalar = str | int | float | bool


class RetrainOverrides(BaseModel):
    """What one retraining may change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    since: str | None = Field(None, description="Backfill: rows before this time (ISO 8601) are left out.")
    until: str | None = Field(None, description="Backfill: rows from this time (ISO 8601) on are left out.")
    window_days: int | None = Field(None, ge=1, description="Only rows of the last so many days.")
    hyperparameters: dict[str, Scalar] = Field(
        default_factory=dict, description="Set on the estimator: regParam for Spark, model__C for scikit-learn."
    )
    deploy: Literal["manual", "automatic", "threshold"] | None = Field(
        None, description="Mode of the gate for this run, in place of the spec's."
    )
    wait_for_data: bool | None = Field(
        None, description="Wait for new data also in a run by hand; false: take what there is in a scheduled one."
    )

    @field_validator("since", "until")
    @classmethod
    def _check_time(cls, text: str | None) -> str | None:
        if text is not None:
            datetime.fromisoformat(text)
        return text
