"""The input of the oracle test: rows of the raw CSV files under several series names.

The publisher writes exactly these rows and the oracle forecasts from exactly these rows, so both read
them here; nothing else is shared.
"""

import csv
import datetime
import pathlib

FIELDS = [
    "down", "up", "rnti_count", "mcs_down", "mcs_down_var", "mcs_up", "mcs_up_var", "rb_down",
    "rb_down_var", "rb_up", "rb_up_var",
]
# Every so many rows something is missing, because the sample itself is nearly whole. The numbers are
# prime, so that the holes meet in different ways.
BLANK_DOWN_EVERY = 37
BLANK_UP_RUN_EVERY, BLANK_UP_RUN = 149, 5  # longer than gap_max: no forecast until it has passed
DROP_ROW_EVERY = 101


def read(folder, rows_max, copies):
    """Yields (series, time in milliseconds, {field: value or None}) in time order per series.

    A copy begins a few rows later than the one before, so no two series have the same windows.
    """
    for path in sorted(pathlib.Path(folder).glob("*_test.csv")):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))[:rows_max]
        for copy in range(copies):
            yield from _series(f"{path.stem.removesuffix('_test')}-{copy}", rows[7 * copy :])


def _series(series, rows):
    for index, row in enumerate(rows):
        time = datetime.datetime.fromisoformat(row["time"]).replace(tzinfo=datetime.timezone.utc)
        values = {field: float(row[field]) if row[field] else None for field in FIELDS}
        if index % BLANK_DOWN_EVERY == 0:
            values["down"] = None
        if index % BLANK_UP_RUN_EVERY < BLANK_UP_RUN and index >= BLANK_UP_RUN:
            values["up"] = None
        if index % DROP_ROW_EVERY == DROP_ROW_EVERY - 1:
            continue
        yield series, int(time.timestamp()) * 1000, values
