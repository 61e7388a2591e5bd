"""Writes the golden vectors that the Rust tests compare with: calendar.json and forecasts/*.json.

    pip install -r tests/oracle/requirements.txt
    python3 tests/oracle/golden.py

Forecasts come from forecast.py, calendar values from Python's datetime.
"""

import datetime
import json
import pathlib

import numpy as np

import forecast as oracle

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
MODELS = [
    "demo/last_value.onnx",
    "tests/models/gru_quantiles.onnx",
    "tests/models/linear_recursive.onnx",
    "tests/models/gru64.onnx",
    "tests/models/mlp.onnx",
    "tests/models/not_finite.onnx",
    "tests/models/one_row.onnx",
]
# Origins whose windows and horizons cross midnight, a week's end, year's ends and leap days, and one
# before the epoch.
ORIGINS = [
    "1969-12-31T23:58:00",
    "2018-06-03T23:52:00",
    "2018-12-31T23:58:00",
    "2019-01-01T00:10:00",
    "2020-02-28T23:56:00",
    "2020-02-29T00:06:00",
    "2020-12-31T23:54:00",
    "2100-02-28T23:50:00",
]


def milliseconds(time):
    """Milliseconds from the epoch to a time, exactly."""
    return (time.replace(tzinfo=datetime.timezone.utc) - oracle.EPOCH) // datetime.timedelta(milliseconds=1)


def calendar():
    """[milliseconds, minute of day, day of week, day of year] of edges and of random times."""
    random = np.random.default_rng(0)
    times = []
    for year in (1, 4, 100, 400, 1582, 1600, 1899, 1900, 1969, 1970, 1972, 1999, 2000, 2023, 2024, 2100, 2400, 9998):
        for month, day in ((1, 1), (2, 28), (3, 1), (6, 30), (12, 31)):
            midnight = datetime.datetime(year, month, day)
            times += [milliseconds(midnight) + offset for offset in (0, 59_999, 60_000, 86_399_999, 86_400_000)]
    times += random.integers(milliseconds(datetime.datetime(1, 1, 2)), milliseconds(datetime.datetime(9999, 1, 1)), 1000).tolist()
    rows = []
    for time in sorted(set(times)):
        values = oracle.calendar_values(time)
        rows.append([time, *(values[name][0] for name in ("minute_of_day", "day_of_week", "day_of_year"))])
    (HERE / "calendar.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


def forecasts(model):
    path = ROOT / model
    contract = oracle.load_contract(path)
    random = np.random.default_rng(42)
    centers, scales = oracle.scaling(contract)
    origins = [milliseconds(datetime.datetime.fromisoformat(text)) for text in ORIGINS]
    shape = (len(origins), contract["window"], len(centers))
    values = np.round(centers + scales * random.standard_normal(shape), 3)
    result = oracle.forecast(contract, oracle.load_session(path), values, origins)
    valid = result.pop("valid")
    rows = []
    for row, origin in enumerate(origins):
        expected = None
        if valid[row]:
            expected = {
                target: {"mean": parts["mean"][row].tolist(), "quantiles": parts["quantiles"][:, row].tolist()}
                for target, parts in result.items()
            }
        rows.append({"origin_ms": origin, "values": values[row].tolist(), "forecast": expected})
    text = "[\n" + ",\n".join(json.dumps(row, allow_nan=False) for row in rows) + "\n]\n"
    folder = HERE / "forecasts"
    folder.mkdir(exist_ok=True)
    (folder / f"{path.stem}.json").write_text(text)
    print(f"{model}: {int(valid.sum())} of {len(rows)} rows have a forecast")


if __name__ == "__main__":
    calendar()
    for name in MODELS:
        forecasts(name)
