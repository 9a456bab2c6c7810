"""Is each new object fit to be trained on? Structure first, then the service's Great Expectations suite.

Objects are judged one by one, so that a bad file among good ones is set aside alone. Great Expectations is used
without a checkpoint: storing a checkpoint's result fails on numpy booleans, and one object needs no store.
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from slipway_trainer.job import DataObject, Job
from slipway_trainer.objects import ObjectReader, require_columns
from slipway_trainer.problem import BadDataError, TrainingError
from slipway_trainer.progress import tell

_MAX_EXAMPLES = 5


def validate(job: Job) -> dict[str, Any]:
    """Judge each of the job's objects.

    Args:
        job: Objects, suite, and the columns that have to be there (target, time column, those of the champion).

    Returns:
        ``objects``: one entry each with ``uri``, ``rows``, ``passed``, ``problems`` and ``page``, its Data Docs as HTML
        (empty without a suite); ``rows``: of all that passed.

    Raises:
        TrainingError: The suite is not one, or S3 refuses.
        UnavailableError: S3 does not answer.
    """
    reader = ObjectReader(job.data_format, job.s3_endpoint_url, job.region)
    judge = _Suite(job.suite) if job.suite else None
    judged = []
    for number, source in enumerate(job.objects, 1):
        found = _judge(reader, source, job, judge)
        judged.append(found)
        verdict = "passed" if found["passed"] else f"refused: {'; '.join(found['problems'])}"
        tell(f"{number} of {len(job.objects)}: {source.uri}, {found['rows']:,} rows, {verdict}")
    return {"objects": judged, "rows": sum(each["rows"] for each in judged if each["passed"])}


def _judge(reader: ObjectReader, source: DataObject, job: Job, suite: _Suite | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"uri": source.uri, "etag": source.etag, "rows": 0, "passed": False, "page": ""}
    try:
        table = reader.table(source)
        entry["rows"] = table.num_rows
        if not table.num_rows:
            raise BadDataError(f"{source.uri} has no rows")
        require_columns(table.schema, [name for name in (job.target, job.time_column) if name], source.uri)
    except BadDataError as error:
        return {**entry, "problems": [str(error)]}
    rows: pd.DataFrame = table.to_pandas()
    problems = _missing_targets(rows, job)
    if suite:
        found, entry["page"] = suite.judge(rows)
        problems += found
    return {**entry, "problems": problems, "passed": not problems}


def _missing_targets(rows: pd.DataFrame, job: Job) -> list[str]:
    missing = int(rows[job.target].isna().sum()) if job.target else 0
    return [f"{missing} rows have no {job.target!r}"] if missing else []


class _Suite:
    """A Great Expectations suite, made ready once."""

    def __init__(self, document: dict[str, Any]) -> None:
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

        tell("starting Great Expectations")
        known = {key: value for key, value in document.items() if key in {"name", "expectations", "meta"}}
        try:
            self._context = gx.get_context(mode="ephemeral")
            self._context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
            self._suite = self._context.suites.add(gx.ExpectationSuite(**known))
        except Exception as error:
            raise TrainingError(f"the expectation suite is not valid: {type(error).__name__}: {error}") from error
        asset = self._context.data_sources.add_pandas("objects").add_dataframe_asset("object")
        self._batches = asset.add_batch_definition_whole_dataframe("whole")

    def judge(self, rows: pd.DataFrame) -> tuple[list[str], str]:
        """Problems of these rows in words, and the Data Docs page."""
        result = self._batches.get_batch({"dataframe": rows}).validate(self._suite, result_format="SUMMARY")
        problems = [_problem(each) for each in result.to_json_dict()["results"] if not each["success"]]
        return problems, _page(result)


def _problem(result: dict[str, Any]) -> str:
    config, found = result["expectation_config"], result.get("result") or {}
    what = config["type"].removeprefix("expect_").replace("_", " ")
    arguments = {key: value for key, value in config["kwargs"].items() if key not in {"batch_id", "column"}}
    column = f"{config['kwargs']['column']}: " if "column" in config["kwargs"] else ""
    raised = _raised(result.get("exception_info") or {})
    if raised:
        return f"{column}{what} could not be judged: {raised}"
    seen = found.get("partial_unexpected_list") or []
    if seen:
        share = found.get("unexpected_percent") or 0.0
        shown = f"{found.get('unexpected_count')} rows ({share:.3g} %) such as {seen[:_MAX_EXAMPLES]}"
    else:
        shown = f"found {json.dumps(found.get('observed_value'), default=str)}"
    return f"{column}{what} {json.dumps(arguments, default=str) if arguments else ''}: {shown}"


def _raised(info: dict[str, Any]) -> str:
    """The message of an expectation that raised; Great Expectations nests these by metric."""
    entries = [info] if "raised_exception" in info else [each for each in info.values() if isinstance(each, dict)]
    return next((str(each.get("exception_message")) for each in entries if each.get("raised_exception")), "")


def _page(result: Any) -> str:
    """The result as Great Expectations renders it; the text alone when its renderer cannot."""
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    result.meta.setdefault("run_id", {"run_name": "validation", "run_time": ""})
    try:
        page: str = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(result))
    except Exception as error:  # noqa: BLE001  # a page that cannot be drawn must not decide about the data
        tell(f"Data Docs cannot be drawn: {type(error).__name__}: {error}")
        text = json.dumps(result.to_json_dict(), indent=1, default=str)
        page = f"<!doctype html><pre>{text.replace('<', '&lt;')}</pre>"
    return page
