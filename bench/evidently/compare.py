"""Evidently's DataDriftPreset over two Parquet files: REFERENCE CURRENT. Prints one line of JSON."""

import json
import resource
import sys
import time

started = time.perf_counter()
import pandas
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

imported = time.perf_counter()
reference, current = (pandas.read_parquet(path) for path in sys.argv[1:3])
read = time.perf_counter()
definition = DataDefinition(
    numerical_columns=[name for name in reference.columns if name.startswith("n")],
    categorical_columns=[name for name in reference.columns if name.startswith("c")],
)
run = Report([DataDriftPreset()]).run(
    Dataset.from_pandas(current, definition), Dataset.from_pandas(reference, definition)
)
columns = sum("column" in metric["config"] for metric in run.dict()["metrics"])
done = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(
    json.dumps(
        {
            "seconds": done - imported,
            "importSeconds": imported - started,
            "readSeconds": read - imported,
            # Kibibytes, on macOS bytes.
            "peakMiB": peak / (2**20 if sys.platform == "darwin" else 2**10),
            "columns": columns,
        }
    )
)
