"""The data lake of the demo: one Parquet object a month of flights, in S3, and now and then a dirty one."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from demo import flights
from demo.stage import Stage

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

BUCKET = "lake"
PREFIX = "flights/"
TIME = "departed_at"


def rows_of(month: int) -> pd.DataFrame:
    """The flights of one month of 2013 with their time of departure, as a data pipeline would deliver them."""
    import pandas as pd

    rows = flights.months(flights.load_flights(), month, month)
    days = pd.to_datetime({"year": 2013, "month": rows["month"], "day": rows["day"]})
    rows = rows.assign(**{TIME: days + pd.to_timedelta(rows["sched_dep_minute"], unit="min")})
    return rows.drop(columns=["month", "day"])


def drop(stage: Stage, rows: pd.DataFrame, name: str) -> str:
    """Puts rows into the lake as one object; the same rows under the same name are not put again. Returns its key."""
    body = io.BytesIO()
    rows.to_parquet(body, index=False)
    s3, key = stage.aws("s3"), f"{PREFIX}{name}"
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix=key).get("Contents", [])
    if not any(each["Key"] == key and each["Size"] == len(body.getvalue()) for each in found):
        s3.put_object(Bucket=BUCKET, Key=key, Body=body.getvalue())
    return key


def land(stage: Stage, objects: dict[str, pd.DataFrame], *, prefix: str = PREFIX) -> list[str]:
    """Puts Parquet objects into the lake, together; each is new data even when it was there. Returns their keys.

    Args:
        stage: The running stack.
        objects: Rows by name of the object.
        prefix: The service's folder.
    """
    bodies = {}
    for name, rows in objects.items():
        file = io.BytesIO()
        rows.to_parquet(file, index=False)
        bodies[f"{prefix}{name}"] = file.getvalue()
    s3 = stage.aws("s3")
    for key, body in bodies.items():
        s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    return list(bodies)


def dirty(rows: pd.DataFrame) -> pd.DataFrame:
    """What a broken export looks like: no target in places, distances a thousand times too long."""
    broken = rows.head(500).copy()
    broken[flights.TARGET] = broken[flights.TARGET].astype(float)
    broken.loc[broken.index[:50], flights.TARGET] = None
    return broken.assign(distance=broken["distance"] * 1000)
