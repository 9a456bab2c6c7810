"""Evidently and NannyML on the benchmark's rows, with the calls of their own guides; run in their own environment.

    python drift_libraries.py evidently|nannyml FOLDER

Prints what it cost as JSON. Reading the files counts, importing the library and fitting NannyML's reference do not: a
stored baseline stands for both.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHUNKS = 10


def evidently(folder: Path, numbers: list[str], words: list[str]) -> Callable[[], int]:
    """The preset with PSI for every column."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=numbers, categorical_columns=words)
    reference = Dataset.from_pandas(pd.read_parquet(folder / "baseline.parquet"), data_definition=definition)

    def run() -> int:
        window = pd.read_parquet(folder / "window.parquet")
        current = Dataset.from_pandas(window, data_definition=definition)
        Report([DataDriftPreset(method="psi")]).run(current, reference).dict()
        return len(window)

    return run


def nannyml(folder: Path, numbers: list[str], words: list[str]) -> Callable[[], int]:
    """Univariate drift by Jensen-Shannon, its default for both kinds, in ten chunks."""
    import nannyml as nml
    import pandas as pd

    calculator = nml.UnivariateDriftCalculator(
        column_names=[*numbers, *words], treat_as_categorical=words, chunk_number=CHUNKS
    )
    calculator.fit(pd.read_parquet(folder / "baseline.parquet"))

    def run() -> int:
        window = pd.read_parquet(folder / "window.parquet")
        calculator.calculate(window).to_df()
        return len(window)

    return run


def main() -> None:
    """Measure one library."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    columns: dict[str, Any] = json.loads((folder / "columns.json").read_text())
    run = {"evidently": evidently, "nannyml": nannyml}[name](folder, columns["numbers"], columns["words"])
    wall, cpu = time.perf_counter(), time.process_time()
    rows = run()
    seconds, used = time.perf_counter() - wall, time.process_time() - cpu
    # Not ru_maxrss: a child begins with its parent's.
    peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    sys.stdout.write("\n" + json.dumps({"rows": rows, "seconds": seconds, "cpu": used, "peak": peak}))


if __name__ == "__main__":
    main()
