"""The sample cells: their columns, their files, and the windows that models are trained on."""

import csv
import datetime
import math
from pathlib import Path

import numpy as np

SERIES = ["ElBorn", "LesCorts", "PobleSec"]
FEATURES = ["down", "up", "rnti_count"]
STEP_SECONDS, WINDOW, HORIZON, GAP_MAX = 120, 64, 12, 3
QUANTILES = [0.1, 0.5, 0.9]


def read_csv(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times, milliseconds [rows], and values [rows, features], NaN where a cell is empty."""
    times, values = [], []
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            time = datetime.datetime.fromisoformat(row["time"]).replace(tzinfo=datetime.timezone.utc)
            times.append(int(time.timestamp()) * 1000)
            values.append([float(row[name]) if row[name] else math.nan for name in FEATURES])
    return np.array(times, np.int64), np.array(values, np.float64)


def filled(values: np.ndarray) -> np.ndarray:
    """Missing cells take the last value at most GAP_MAX rows back, as in the worker."""
    result = values.copy()
    for back in range(1, GAP_MAX + 1):
        older = np.full_like(values, math.nan)
        older[back:] = values[:-back]
        result = np.where(np.isnan(result), older, result)
    return result


def windows(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Complete windows [n, 64, 3], what followed them [n, 12, 3] (NaN where missing), origins [n]."""
    assert (np.diff(times) == STEP_SECONDS * 1000).all(), "rows must be one step apart"
    view = np.lib.stride_tricks.sliding_window_view
    inputs = view(filled(values), WINDOW, axis=0).transpose(0, 2, 1)[:-HORIZON]
    futures = view(values, HORIZON, axis=0).transpose(0, 2, 1)[WINDOW:]
    origins = times[WINDOW - 1 : -HORIZON]
    complete = np.isfinite(inputs).all(axis=(1, 2))
    return inputs[complete], futures[complete], origins[complete]
