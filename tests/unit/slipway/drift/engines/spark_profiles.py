"""Profile a file and capture objects by Spark: ``spark_profiles.py FOLDER``, whose files ``test_spark.py`` makes."""

import json
import sys
from pathlib import Path

from slipway.drift.encoding import to_bytes
from slipway.drift.engines.spark import profile_frame
from slipway.drift.reference import read_reference
from slipway_trainer.spark.session import start_session

folder = Path(sys.argv[1])
spark = start_session("profiles", cache_dir=folder, configuration={"spark.master": "local[2]"})
reference = read_reference((folder / "reference.json").read_bytes())
frame = spark.read.parquet(str(folder / "rows.parquet")).repartition(3)
(folder / "frame.slpf").write_bytes(to_bytes(profile_frame(frame, reference.bins)))
print(json.dumps({"partitions": frame.rdd.getNumPartitions()}))
spark.stop()
