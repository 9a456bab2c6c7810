"""``slipway retrain``."""

from __future__ import annotations

from typing import Any

import typer

from slipway.cli.airflow_api import AirflowApi
from slipway.cli.deploy import follow_to_end, overrides_of, run_url
from slipway.training.overrides import RetrainOverrides


def retrain(service: str, reason: str, overrides: list[str], *, dry_run: bool, wait: bool) -> int:
    """Start ``<service>.retrain`` and return the exit code.

    Args:
        service: name of the service.
        reason: why; goes into the ledger.
        overrides: ``key=value``, each for this run only.
        dry_run: whether to train and judge without logging or registering anything.
        wait: whether to follow the run to its end; the exit code then is its outcome.

    Raises:
        UnknownServiceError: Airflow has no such service, or it is not retrained.
        InvalidParamsError: an override is not ``key=value``, or is none that a retraining takes.
    """
    chosen = overrides_of(overrides, RetrainOverrides)
    given = {"reason": reason, "overrides": chosen, "dry_run": dry_run}
    conf: dict[str, Any] = {name: value for name, value in given.items() if value}
    api = AirflowApi.from_environment()
    run = api.trigger(f"{service}.retrain", conf)
    typer.echo(f"started {run.dag_id}, run {run.run_id}")
    typer.echo(f"  {run_url(api, run)}")
    if wait:
        return follow_to_end(api, service, run)
    typer.echo(f"  follow it with `slipway status {service} --watch`")
    return 0
