"""Judges models on files of observations with numpy, to hold the figures of `foretell backtest --json` against.

    backtest_oracle.py REPORT.json CASE.json

The whole table of each series is in memory here and every figure is a formula over it, with onnxruntime for the
models: nothing of the product, its Python package included. CASE.json: {"models": [FILE], "data": FILE, "series":
NAME or null, "horizons": [STEPS], "season": STEPS, "gap_max": STEPS}. Series must have a row at every step.
Prints how many figures agree; exits 1 with the first that differs.
"""

import csv
import datetime
import json
import math
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
import pyarrow.parquet

RELATIVE = 1e-6
ROWS_PER_RUN = 64


def read(case):
    """{series: (times in ms, {column: float64 values, NaN where missing})}."""
    path = pathlib.Path(case["data"])
    rows = {}
    if path.suffix == ".parquet":
        for row in pyarrow.parquet.read_table(path).to_pylist():
            rows.setdefault(row["series"], []).append((round(row["time"].timestamp() * 1000), row))
    else:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                time = datetime.datetime.fromisoformat(row["time"]).replace(tzinfo=datetime.timezone.utc)
                rows.setdefault(case["series"], []).append((round(time.timestamp() * 1000), row))
    number = lambda cell: float(cell) if cell not in (None, "") else math.nan
    return {
        name: (
            np.array([time for time, _ in series], np.int64),
            {
                column: np.array([number(row[column]) for _, row in series])
                for column in series[0][1]
                if column not in ("series", "time")
            },
        )
        for name, series in rows.items()
    }


class Model:
    def __init__(self, path):
        self.contract = json.loads(
            next(entry.value for entry in onnx.load(path).metadata_props if entry.key == "foretell.contract")
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.levels = self.contract.get("quantiles", [])

    def forecasts(self, times, columns, gap_max):
        """[rows, 1 + quantiles, horizon, targets], NaN where the window that ends at the row is not complete."""
        contract = self.contract
        features = contract["features"]
        values = np.stack([filled(columns[feature["name"]], gap_max) for feature in features], axis=1)
        center = np.array([feature["center"] for feature in features])
        scale = np.array([feature["scale"] or 1.0 for feature in features])
        length = contract["window"]
        shape = (len(times), 1 + len(self.levels), contract["horizon"], len(contract["targets"]))
        result = np.full(shape, np.nan)
        inputs, ends = [], []
        for end in range(length - 1, len(times)):
            window = slice(end + 1 - length, end + 1)
            if np.isfinite(values[window]).all():
                scaled = ((values[window] - center) / scale).astype(np.float32)
                inputs.append(np.concatenate([scaled, calendar(contract, times[window])], axis=1))
                ends.append(end)
        targets = [[feature["name"] for feature in features].index(name) for name in contract["targets"]]
        name = self.session.get_inputs()[0].name
        for start in range(0, len(inputs), ROWS_PER_RUN):
            outputs = self.session.run(None, {name: np.stack(inputs[start : start + ROWS_PER_RUN])})
            outputs = np.stack(outputs, axis=1).astype(np.float64) * scale[targets] + center[targets]
            result[ends[start : start + ROWS_PER_RUN]] = outputs
        return result


def filled(values, gap_max):
    """A missing cell takes the last observed value at most gap_max rows back."""
    result = values.copy()
    for row in np.flatnonzero(np.isnan(values)):
        back = values[max(0, row - gap_max) : row]
        known = back[~np.isnan(back)]
        if len(known):
            result[row] = known[-1]
    return result


def calendar(contract, times):
    if contract.get("calendar", []) == []:
        return np.zeros((len(times), 0), np.float32)
    assert contract["calendar"] == ["minute_of_day"], "the sample models have no other calendar"
    angle = 2 * np.pi * (times // 60_000 % 1440) / 1440
    return np.stack([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)


def points(case, models, columns, forecasts, target, horizon):
    """What was observed and what each forecaster said of it, at the points that all have; and who lacks what."""
    reach = case["horizons"][-1]
    observed = columns[target]
    origins = np.arange(max(0, len(observed) - reach))
    of = lambda rows: np.where(rows >= 0, observed[np.maximum(rows, 0)], np.nan)
    said = {}
    for label, model in models.items():
        place = model.contract["targets"].index(target)
        said[label] = forecasts[label][origins, :, horizon - 1, place]
    back = math.ceil(horizon / case["season"]) * case["season"]
    actual, last, seasonal = of(origins + horizon), of(origins), of(origins + horizon - back)
    have = np.stack([np.isfinite(rows[:, 0]) for rows in said.values()])
    left_out, left = {}, have.any(axis=0)
    for reason, holds in [
        ("not_all_models", have.all(axis=0)),
        ("no_actual", np.isfinite(actual)),
        ("no_last_value", np.isfinite(last)),
        ("no_season", np.isfinite(seasonal)),
    ]:
        left_out[reason] = int((left & ~holds).sum())
        left = left & holds
    forecasters = {label: rows[left] for label, rows in said.items()}
    forecasters["last value"] = last[left][:, None]
    forecasters["seasonal-naive"] = seasonal[left][:, None]
    return actual[left], forecasters, left_out


def figures(actual, said, levels):
    error = said[:, 0] - actual
    found = {
        "mae": np.abs(error).mean(),
        "rmse": np.sqrt((error**2).mean()),
        "nrmse": np.sqrt((error**2).mean()) / actual.std(),
        "pinball": None,
        "coverage": None,
    }
    if levels:
        distance = actual[:, None] - said[:, 1:]
        level = np.array(levels)
        found["pinball"] = np.where(distance >= 0, level * distance, (level - 1) * distance).mean()
        found["coverage"] = ((said[:, 1] <= actual) & (actual <= said[:, -1])).mean()
    return found


class Compared:
    count = 0

    def __call__(self, where, found, right):
        same = found == right
        if not same and found is not None and right is not None:
            same = abs(found - right) <= RELATIVE * abs(right)
        if not same:
            sys.exit(f"{where}: the backtest says {found}, numpy {right}")
        self.count += 1


def main():
    report = json.loads(pathlib.Path(sys.argv[1]).read_text())
    case = json.loads(pathlib.Path(sys.argv[2]).read_text())
    models = {}
    for served, path in zip(report["models"], case["models"], strict=True):
        models[served["label"]] = Model(path)
    data = read(case)
    forecasts = {
        series: {label: model.forecasts(times, columns, case["gap_max"]) for label, model in models.items()}
        for series, (times, columns) in data.items()
    }
    targets = next(iter(models.values())).contract["targets"]
    compared = Compared()
    for served in report["models"]:
        made = sum(int(np.isfinite(of[served["label"]][:, 0, 0, 0]).sum()) for of in forecasts.values())
        compared(f"forecasts of {served['label']}", served["outcomes"]["forecast"], made)
    levels = {label: model.levels for label, model in models.items()}
    wanted, scaled = {}, {}
    for target in targets:
        for horizon in case["horizons"]:
            each = [
                points(case, models, data[series][1], forecasts[series], target, horizon) for series in sorted(data)
            ]
            for series, (actual, said, left_out) in zip(sorted(data), each, strict=True):
                of = {name: figures(actual, rows, levels.get(name)) for name, rows in said.items()}
                wanted[series, target, horizon] = len(actual), actual.std(), left_out, of
                for name, found in of.items():
                    scaled.setdefault((horizon, name), []).append(found["mae"] / actual.std())
            actual = np.concatenate([actual for actual, _, _ in each])
            pooled = {
                name: figures(actual, np.concatenate([said[name] for _, said, _ in each]), levels.get(name))
                for name in each[0][1]
            }
            left_out = {reason: sum(counts[reason] for _, _, counts in each) for reason in each[0][2]}
            wanted[None, target, horizon] = len(actual), actual.std(), left_out, pooled
    for errors in report["errors"]:
        where = errors["series"], errors["target"], errors["horizon"]
        count, deviation, left_out, of = wanted.pop(where)
        compared(where, errors["points"], count)
        compared(where, errors["deviation"], deviation)
        compared(where, errors["left_out"], left_out)
        for found in errors["forecasters"]:
            right = of.pop(found.pop("forecaster"))
            for name, value in right.items():
                compared((*where, name), found[name], value)
        if of:
            sys.exit(f"{where}: the backtest does not tell of {list(of)}")
    if wanted:
        sys.exit(f"the backtest does not tell of {list(wanted)}")
    naives = dict(scaled)
    for found in report["overall"]:
        where = found["horizon"], found["forecaster"]
        right = scaled.pop(where)
        compared(where, found["averaged"], len(right))
        compared(where, found["scaled_mae"], np.mean(right))
        for name, naive in [("last_value_scaled_mae", "last value"), ("seasonal_scaled_mae", "seasonal-naive")]:
            compared((*where, name), found[name], np.mean(naives[where[0], naive]))
    if scaled:
        sys.exit(f"the backtest does not tell of {list(scaled)}")
    print(json.dumps({"compared": compared.count}))


if __name__ == "__main__":
    main()
