"""Fit and save every case in a process of its own: ``python fit_and_save.py OUT``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from estimator_cases import cases, make_data, outputs

from slipway_trainer.spark.session import start_session


def main(out: Path) -> None:
    spark = start_session("fit", cache_dir=out)
    data = make_data(spark)
    answers = {}
    for name, make in cases().items():
        model = make().fit(data)
        model.write().overwrite().save(str(out / "models" / name))
        answers[name] = {"class": f"{type(model).__module__}.{type(model).__name__}", "outputs": outputs(model, data)}
    (out / "answers.json").write_text(json.dumps(answers))
    spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
