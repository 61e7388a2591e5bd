"""Judges the sample models on days that they never saw, and writes the table of README.md.

    pip install ./python
    python3 demo/evaluate.py FOLDER_WITH_THE_CSV_FILES

Judged are the forecasts of the rows of each `_test` file. A training file ends one step before its `_test` file
begins, so it is the history of the first windows and of the first day of seasonal-naive, and gives the units of
the first table. Every forecast is made by the package as the worker makes it (`foretell.load`), from windows
that are complete; a point where an observation or one of the forecasters is missing counts for none.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import foretell
import numpy as np
from cells import FEATURES, HORIZON, QUANTILES, SERIES, STEP_SECONDS, WINDOW, read_csv

HORIZONS = [1, 6, 12]
SEASON = 24 * 3600 // STEP_SECONDS
NEURAL = ["gru", "hits"]
NAIVE = ["last value", "seasonal-naive"]
BEGIN, END = "<!-- evaluate.py: begin -->", "<!-- evaluate.py: end -->"


@dataclass
class Cell:
    """What one cell's test file gives: forecasts and what came, NaN where there is none."""

    actual: np.ndarray  # [origins, horizon, targets]
    means: dict[str, np.ndarray]  # the same shape, by forecaster
    quantiles: np.ndarray  # of "hits", [origins, levels, horizon, targets]
    unit: np.ndarray  # standard deviation of the training file, [targets]


def judge(folder: Path, cell: str, packages: dict[str, foretell.Package]) -> Cell:
    """Forecasts from every origin that makes all of its horizon lie in the cell's test file."""
    past_times, past = read_csv(folder / f"{cell}.csv")
    times, values = read_csv(folder / f"{cell}_test.csv")
    assert times[0] - past_times[-1] == STEP_SECONDS * 1000, "the test file must follow the training file"
    first = len(past)
    times, values = np.concatenate([past_times, times]), np.concatenate([past, values])
    rows = np.arange(first - 1, len(times) - HORIZON)
    ahead = rows[:, None] + np.arange(1, HORIZON + 1)
    means = {name: np.full((len(rows), HORIZON, len(FEATURES)), np.nan) for name in [*NEURAL, *NAIVE]}
    quantiles = np.full((len(rows), len(QUANTILES), HORIZON, len(FEATURES)), np.nan)
    means["last value"][:] = values[rows][:, None]
    means["seasonal-naive"][:] = values[ahead - SEASON]
    for at, row in enumerate(rows):
        window = slice(row - WINDOW + 1, row + 1)
        for name, package in packages.items():
            try:
                forecast = package.forecast(times[window], values[window])
            except foretell.NoForecastError:
                continue
            means[name][at] = forecast.mean
            if forecast.levels:
                quantiles[at] = forecast.quantiles
    return Cell(values[ahead], means, quantiles, np.nanstd(past, axis=0))


def errors(cell: Cell, name: str, step: int, target: int) -> np.ndarray:
    """Forecast less actual, at the points where every forecaster has one."""
    at = (slice(None), step - 1, target)
    known = np.isfinite(cell.actual[at])
    for means in cell.means.values():
        known &= np.isfinite(means[at])
    return (cell.means[name][at] - cell.actual[at])[known]


def spread(cell: Cell, step: int, target: int) -> tuple[float, float]:
    """Mean pinball loss over the levels, and the share of actuals from the lowest to the highest quantile."""
    actual = cell.actual[:, step - 1, target]
    quantiles = cell.quantiles[:, :, step - 1, target]
    known = np.isfinite(actual) & np.isfinite(quantiles).all(axis=1)
    error = actual[known, None] - quantiles[known]
    levels = np.array(QUANTILES)
    pinball = np.maximum(levels * error, (levels - 1) * error).mean()
    inside = (actual[known] >= quantiles[known, 0]) & (actual[known] <= quantiles[known, -1])
    return float(pinball), float(inside.mean())


def number(value: float) -> str:
    """Four significant digits, with separators."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def headline(cells: dict[str, Cell]) -> list[str]:
    """MAE in training deviations, the mean over cells and targets, and how much better than each naive one."""
    lines = [
        "| horizon | forecaster | MAE, in training standard deviations | less than last value by | less than seasonal-naive by |",
        "|---|---|---|---|---|",
    ]
    for step in HORIZONS:
        scores = {
            name: float(np.mean([
                np.abs(errors(cell, name, step, target)).mean() / cell.unit[target]
                for cell in cells.values() for target in range(len(FEATURES))
            ]))
            for name in [*NEURAL, *NAIVE]
        }
        for name, score in scores.items():
            gains = [f"{100 * (1 - score / scores[naive]):.1f} %" if name != naive else "" for naive in NAIVE]
            lines.append(f"| {step} | {name} | {score:.4f} | {gains[0]} | {gains[1]} |")
    return lines


def details(cells: dict[str, Cell]) -> list[str]:
    """MAE and NRMSE of each forecaster, pinball and coverage of the one that has quantiles."""
    names = [*NEURAL, *NAIVE]
    lines = [
        "| cell | target | horizon | points | " + " | ".join(f"{name} MAE" for name in names) + " | "
        + " | ".join(f"{name} NRMSE" for name in names) + " | hits pinball | hits coverage |",
        "|---" * (4 + 2 * len(names) + 2) + "|",
    ]
    for series, cell in cells.items():
        for target, feature in enumerate(FEATURES):
            for step in HORIZONS:
                each = {name: errors(cell, name, step, target) for name in names}
                actual = cell.actual[:, step - 1, target]
                deviation = float(np.nanstd(actual))
                mae = [number(float(np.abs(error).mean())) for error in each.values()]
                nrmse = [f"{float(np.sqrt((error**2).mean())) / deviation:.3f}" for error in each.values()]
                pinball, coverage = spread(cell, step, target)
                cellular = [series, feature, str(step), str(len(each["gru"])), *mae, *nrmse, number(pinball), f"{coverage:.3f}"]
                lines.append("| " + " | ".join(cellular) + " |")
    return lines


def main() -> None:
    """Prints the tables and puts them into README.md."""
    parser = argparse.ArgumentParser(description="Judges the sample models on the _test files.")
    parser.add_argument("folder", type=Path, help="folder with the CSV files of the publication")
    folder = parser.parse_args().folder
    here = Path(__file__).parent
    packages = {name: foretell.load(here / f"{name}.onnx") for name in NEURAL}
    cells = {series: judge(folder, series, packages) for series in SERIES}
    text = "\n".join([*headline(cells), "", *details(cells)])
    print(text)
    readme = here / "README.md"
    head, rest = readme.read_text().split(BEGIN)
    _, tail = rest.split(END)
    readme.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}")


if __name__ == "__main__":
    main()
