"""When and from what the model is trained again, and whether the result goes on by itself."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from slipway.errors import InvalidInputError
from slipway.spec.compute import ComputeSpec, EmrServerlessSpec
from slipway.spec.prepare import PrepareSpec
from slipway.spec.section import Section, TextRule, broken_rule
from slipway.spec.values import ConnectionId, S3Prefix, Schedule, Timezone, unique
from slipway.training.gate_expression import parse_expression
from slipway.training.metric_name import Task, unknown_metric

TableName = Annotated[
    str, TextRule("the name of a table, such as sales.orders", r"[A-Za-z_][\w$]*(?:\.[A-Za-z_][\w$]*){0,2}", 255)
]
ColumnName = Annotated[str, TextRule("the name of a column", r"[^\s\x00-\x1f`\"';]+", 255)]


def _check_expression(text: str) -> str:
    try:
        parse_expression(text)
    except InvalidInputError as error:
        raise broken_rule(str(error).partition(" Expected ")[2] or "a gate expression") from error
    return text


GateExpression = Annotated[
    str, TextRule("a comparison such as 'areaUnderROC >= 0.70'", r"\s*\S.*", 500), AfterValidator(_check_expression)
]
SparkProperty = Annotated[str, TextRule("a property of Spark such as spark.master", r"spark\.[\w.-]+", 200)]


def _check_spark(properties: dict[str, str]) -> dict[str, str]:
    remote = properties.get("spark.remote")
    if remote is not None and not re.fullmatch(r"sc://[^\s/;]+(/;\S*|/)?", remote):
        expected = "the address of a Spark Connect server, such as sc://spark.example.com:15002"
        raise broken_rule(expected, "spark.remote", show_value=False)
    if remote is not None and re.search(r";\s*(?:token|user_id)=", remote, re.IGNORECASE):
        raise broken_rule("no token in a spec, and servers that need none", "spark.remote", show_value=False)
    if remote is not None and "spark.master" in properties:
        raise broken_rule("spark.remote or spark.master; a Spark Connect server has its own master", "spark.master")
    if properties.get("spark.submit.deployMode", "client") != "client":
        expected = "client: the driver runs beside the task, and ends with it"
        raise broken_rule(expected, "spark.submit.deployMode")
    return properties


class JdbcSpec(Section):
    """A table of a database, read from where the last run stopped."""

    connection: ConnectionId = Field(description="Airflow connection of the database.")
    table: TableName = Field(description="Table or view to read.")
    watermark_column: ColumnName = Field(
        description="Column that only grows, such as a number or the time of the last change; never empty."
    )


class DataSpec(Section):
    """The source of training rows: exactly one of `s3`, `jdbc` and `table`."""

    s3: S3Prefix | None = Field(None, description="Folder in S3; new complete objects below it are the new data.")
    jdbc: JdbcSpec | None = Field(None, description="Table of a database.")
    table: TableName | None = Field(
        None, description="Table of Spark's catalog; `retrain.time_column` says which of its rows are new."
    )
    format: Literal["parquet", "csv", "json"] | None = Field(
        None, description="Format of the objects in S3; left out: by the ending of their names."
    )
    pattern: Annotated[str, TextRule("a shell pattern such as dt=*/*.parquet", r"\S+", 200)] | None = Field(
        None, description="Objects that count, by what follows the folder, such as `dt=*/*.parquet`; left out: all."
    )
    settle_seconds: int = Field(60, ge=0, le=86_400, description="Seconds that an object must stay unchanged.")
    min_objects: int = Field(1, ge=1, description="Fewest new objects that are worth a run.")
    min_rows: int = Field(1, ge=1, description="Fewest new rows that are worth a run.")
    success_marker: ColumnName | None = Field(
        None, description="Name of the empty object, such as _SUCCESS, that marks a folder as complete."
    )
    arrivals_queue: (
        Annotated[
            str,
            TextRule(
                "the URL of an SQS queue, such as https://sqs.eu-central-1.amazonaws.com/123456789012/flights-data",
                r"https?://[\w.:-]+/\d{12}/[\w-]+(?:\.fifo)?",
                500,
            ),
        ]
        | None
    ) = Field(
        None,
        description="Queue that is told of new data, by S3 or EventBridge; a message starts a run, which waits until "
        "the data is complete. Only this service reads it.",
    )
    late_within: float = Field(
        3600.0,
        ge=0,
        le=31_536_000,
        description="How far below the highest value of a table's watermark rows may still appear, from transactions "
        "that commit late: seconds of a column of times, units of a column of numbers.",
    )
    max_wait_hours: float = Field(24.0, ge=0, le=720, description="Hours that a scheduled run waits for new data.")

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        given = [name for name in ("s3", "jdbc", "table") if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"; found {' and '.join(given)}" if given else ""
            raise broken_rule(f"exactly one of s3, jdbc and table{found}", *given[1:2])
        about_objects = self.changed_fields() & {"format", "pattern", "success_marker", "settle_seconds", "min_objects"}
        if about_objects and self.s3 is None:
            name = min(about_objects)
            raise broken_rule(f"no {name} beside {given[0]}: it is about objects in S3", name)
        if self.s3 is not None and "late_within" in self.changed_fields():
            raise broken_rule("no late_within beside s3: it is about the rows of a table", "late_within")
        return self


class RetrainSpec(Section):
    """When and from what the model is trained again, and whether the result goes on by itself."""

    schedule: Schedule | None = Field(
        None, description="Cron expression or preset such as @monthly; left out: only by hand, by new data or on drift."
    )
    timezone: Timezone = Field("UTC", description="Time zone of the schedule.")
    data: DataSpec = Field(description="Where the training rows are.")
    engine: Literal["spark", "python"] = Field(
        "spark", description="What runs the training: Spark or one Python process."
    )
    target: ColumnName | None = Field(None, description="Column that the model predicts.")
    time_column: ColumnName | None = Field(None, description="Column with the time of each row; rows are split by it.")
    task: Task = Field("binary", description="Kind of prediction; decides which metrics there are.")
    slices: tuple[ColumnName, ...] = Field(
        (), strict=False, max_length=10, description="Columns by whose values the metrics are given as well."
    )
    spark: Annotated[dict[SparkProperty, str], AfterValidator(_check_spark)] = Field(
        default_factory=dict,
        max_length=100,
        description="Spark properties: `spark.master` names a cluster, `spark.remote` a Spark Connect server; without "
        "either `local[*]`. `spark.slipway.folder` is a folder that all its machines share.",
    )
    compute: ComputeSpec | None = Field(
        None, description="What trains; left out: a process beside the task, on Airflow's worker."
    )
    template: Annotated[str, TextRule("file.py:function", r"[\w/-]+\.py:\w+", 200)] | None = Field(
        None,
        description="Function in `retrainers/`, as `file.py:function`: makes the pipeline of the first training.",
    )
    prepare: PrepareSpec | None = Field(
        None,
        description="What makes the rows to train on of the rows that arrive; left out: they are taken as they are.",
    )
    retrainer: Annotated[str, TextRule("file.py:Class", r"[\w/-]+\.py:\w+", 200)] | None = Field(
        None, description="Your own class in `retrainers/`, as `file.py:Class`, which overrides parts of the training."
    )
    window: Literal["all", "since_champion", "last_days"] = Field("all", description="Which rows are trained on.")
    window_days: int | None = Field(None, ge=1, le=36_500, description="Days of a window of `last_days`.")
    holdout_pct: float = Field(
        20.0, gt=0, le=50, description="Newest part of the window in percent, held out to compare with the champion."
    )
    deploy: Literal["manual", "automatic", "threshold"] = Field(
        "manual", description="What makes a new version a candidate: a person, nothing further, or `when`."
    )
    when: Annotated[tuple[GateExpression, ...], AfterValidator(unique)] = Field(
        (),
        strict=False,
        max_length=20,
        description="Comparisons that must hold, such as `areaUnderROC >= champion`.",
    )
    combine: Literal["all", "any"] = Field("all", description="Whether all comparisons must hold, or any of them.")
    max_hours: float = Field(6.0, gt=0, le=168, description="Hours after which a training, or a preparation, is ended.")

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.deploy == "threshold" and not self.when:
            raise broken_rule("comparisons under when, because deploy is threshold", "when")
        if self.deploy == "automatic" and self.when:
            raise broken_rule("no when beside deploy: automatic; comparisons need deploy: threshold", "when")
        if (self.window == "last_days") != (self.window_days is not None):
            raise broken_rule("window_days together with window: last_days, and only then", "window_days")
        if self.data.table is not None:
            self._check_catalog()
        self._check_checkpoints()
        if self.compute is not None and self.compute.emr_serverless is not None:
            self._check_emr_serverless(self.compute.emr_serverless)
        self._check_metrics()
        return self

    def _check_catalog(self) -> None:
        """Only Spark knows its catalog, and only the time of a row says whether it is new."""
        if self.engine != "spark":
            raise broken_rule(f"engine: spark, because data.table is of Spark's catalog; found {self.engine}", "engine")
        if self.time_column is None:
            raise broken_rule("a time_column beside data.table: rows later than its last value are new", "time_column")

    def _check_checkpoints(self) -> None:
        """Our own retrainers fit in one go: only one of the service's own can go on from a checkpoint."""
        sagemaker = self.compute.sagemaker if self.compute else None
        if sagemaker and sagemaker.checkpoints and self.retrainer is None:
            expected = "a retrainer of your own beside checkpoints: ours begin anew"
            raise broken_rule(expected, "compute", "sagemaker", "checkpoints")

    def _check_emr_serverless(self, emr: EmrServerlessSpec) -> None:
        """It runs Spark alone, with a master of its own; a table's rows are landed beside the task."""
        if self.engine != "spark":
            raise broken_rule("engine: spark, since compute.emr_serverless runs Spark alone", "engine")
        for name in ("spark.master", "spark.remote", "spark.submit.deployMode"):
            if name in self.spark:
                raise broken_rule(f"no {name} beside compute.emr_serverless, which has its own", "spark", name)
        if emr.archive and "spark.archives" in self.spark:
            raise broken_rule("spark.archives or compute.emr_serverless.archive, not both", "spark", "spark.archives")
        if self.data.table is not None:
            expected = "data.s3 or data.jdbc beside compute.emr_serverless: a table is read by the worker's own Spark"
            raise broken_rule(expected, "data", "table")

    def _check_metrics(self) -> None:
        """A retrainer may compute metrics of its own; without one the names are known."""
        for number, text in enumerate(() if self.retrainer else self.when):
            wrong = unknown_metric(parse_expression(text), self.task)
            if wrong:
                raise broken_rule(wrong, "when", number)
