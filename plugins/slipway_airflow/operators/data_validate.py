"""Are the new rows fit to be trained on?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from slipway.training.job import make_job
from slipway.training.overrides import RetrainOverrides
from slipway.training.store import from_record, to_record
from slipway_airflow.operators.retrain_task import RetrainTaskOperator
from slipway_airflow.sensors.new_data import BATCH
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import BaseNotifier, Context

    from slipway.training.watermark import S3Object

VALIDATION = "validation.json"


class DataValidateOperator(RetrainTaskOperator):
    """Validate each new object of the run's batch; set aside the bad ones with their reasons.

    Great Expectations runs in the trainer's process with the suite ``expectations/<service>.json``; without one only
    the structure is checked. A bad object is copied to the quarantine, the watermark passes it, and it is never trained
    on; a repaired one, overwritten under the same key, is new again. When a run that waited for data is left with none,
    or with fewer rows than ``min_rows``, the rest of the run is skipped.

    :param report_only: Judge, but leave the bad objects and the watermark as they are. (templated, default: False)
    :param tell: Called once for a batch with bad objects. (default: none)
    :param mlflow_conn_id: The Airflow connection of MLflow. (templated, default: mlflow_default)
    :param spec: The service.
    :param platform: The installation.
    :return: ``passed``, ``quarantined`` (numbers of objects), ``rows``, ``docs`` (addresses of the Data Docs).
    """

    template_fields = (*RetrainTaskOperator.template_fields, "report_only")

    def __init__(self, *, report_only: bool | str = False, tell: Sequence[BaseNotifier] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.report_only = report_only
        self.tell = tell

    def execute(self, context: Context) -> dict[str, Any]:
        """Validate and quarantine."""
        run_id = context["ti"].run_id
        batch = self.store.read(run_id, BATCH) or {"new": [], "known": []}
        new = [from_record(record) for record in batch["new"]]
        if not new:
            self.log.info("No new objects: nothing to validate.")
            return {"passed": 0, "quarantined": 0, "rows": 0, "docs": []}
        found = self.store.read(run_id, VALIDATION) or self._validate(run_id, new)
        bad = [each for each, entry in zip(new, found["objects"], strict=True) if not entry["passed"]]
        passed = len(new) - len(bad)
        if str(self.report_only).lower() != "true":
            bad = self._set_aside(context, bad, found)
        if not passed:
            raise AirflowSkipException(
                f"No new object is left: {len(bad)} in quarantine, {len(new) - len(bad)} overwritten or deleted while "
                "this run was under way; the champion stays."
            )
        if found["rows"] < self.retrain.data.min_rows:
            raise AirflowSkipException(
                f"{found['rows']} new rows; retrain.data.min_rows is {self.retrain.data.min_rows}."
            )
        docs = [entry["docs"] for entry in found["objects"] if entry["docs"]]
        return {"passed": passed, "quarantined": len(bad), "rows": found["rows"], "docs": docs[:20]}

    def _validate(self, run_id: str, new: list[S3Object]) -> dict[str, Any]:
        prepared = self.prepared(run_id)
        refused = {key: entry["problem"] for key, entry in prepared.items() if "problem" in entry}
        asked = [each for each in new if each.key not in refused]
        judged = iter(self._judged(run_id, asked, prepared))
        entries = [_refused(each, refused[each.key]) if each.key in refused else next(judged) for each in new]
        document = {"objects": entries, "rows": sum(entry["rows"] for entry in entries if entry["passed"])}
        self.store.write(run_id, VALIDATION, document)
        return document

    def _judged(self, run_id: str, asked: list[S3Object], prepared: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        if not asked:
            return []
        job = make_job(
            self.spec,
            self.retrain,
            run_id=run_id,
            objects=asked,
            champion=None,
            overrides=RetrainOverrides(),
            suite=self.suite(),
            prepared=prepared,
            **self.job_places(),
        )
        entries = []
        for number, (each, entry) in enumerate(zip(asked, self.run_trainer("validate", job)["objects"], strict=True)):
            docs = ""
            if entry["page"]:
                docs = self.store.write_body(run_id, f"data-docs/{number}.html", entry["page"].encode(), "text/html")
            kept = {"rows": entry["rows"], "passed": entry["passed"], "problems": entry["problems"], "docs": docs}
            entries.append({**to_record(each), **kept})
        return entries

    def _set_aside(self, context: Context, bad: list[S3Object], found: dict[str, Any]) -> list[S3Object]:
        """Quarantine what is bad; returns what is in quarantine then.

        An object that was overwritten or deleted since it was listed is nobody's: what is there now is new to the next
        run.
        """
        problems = {entry["key"]: entry["problems"] for entry in found["objects"]}
        source = self.data_uri.removeprefix("s3://").partition("/")[0]
        aside = []
        for each in bad:
            where = self.store.quarantine(source, each, problems[each.key])
            if where is None:
                self.log.warning(
                    "%s was overwritten or deleted meanwhile; what is there is left to the next run", each.key
                )
                continue
            aside.append(each)
            self.log.warning("%s is quarantined as %s: %s", each.key, where, "; ".join(problems[each.key]))
            self.bucket.note(
                self.spec.name,
                TaskRun.of(context),
                "data_quarantined",
                each.key,
                reasons=problems[each.key],
                copy=where,
            )
        known = self.store.watermark()
        if any(not known.is_quarantined(each) for each in aside):
            self.store.advance(lambda watermark: watermark.advanced(quarantined=aside))
            for notifier in self.tell:
                notifier(context)
        return aside


def _refused(each: S3Object, problem: str) -> dict[str, Any]:
    return {**to_record(each), "rows": 0, "passed": False, "problems": [f"prepare refuses it: {problem}"], "docs": ""}
