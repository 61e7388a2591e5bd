"""Holds the worker's forecasts against what the Python package says of the same rows.

    package_agrees.py CHECK.json BROKERS FORECASTS_TOPIC

Reads the topic with `foretell.read_forecasts` and forecasts the rows of traffic.py with `foretell.load`, so that
both halves of the package are used as a data scientist uses them. CHECK.json is that of oracle.py. Prints how
many forecasts were compared; exits 1 with the first difference.
"""

import json
import math
import pathlib
import sys

import foretell
import numpy as np

import traffic

RELATIVE = 1e-6


def wanted(check, package):
    """{(series, origin): the package's forecast} of every row that has a complete window."""
    names = [feature.name for feature in package.contract.features]
    rows_max = package.contract.window + check["gap_max"]
    kept, forecasts = {}, {}
    for series, time, values in traffic.read(check["csv"], check["rows_max"], check["copies"]):
        rows = kept.setdefault(series, [])
        rows.append((time, [math.nan if values[name] is None else values[name] for name in names]))
        del rows[:-rows_max]
        times, cells = zip(*rows, strict=True)
        try:
            forecasts[series, time] = package.forecast(list(times), np.array(cells), gap_max=check["gap_max"])
        except foretell.NoForecastError:
            continue
    return forecasts


def compare(identity, rows, forecast):
    """Ends the program at a value of one forecast's table that is not the package's."""
    columns = ["mean", *(f"q{level:g}" for level in forecast.levels)]
    for index, target in enumerate(forecast.targets):
        of_target = rows[rows["target"] == target].sort_values("step")
        right = np.stack([forecast.mean[:, index], *forecast.quantiles[:, :, index]], axis=1)
        found = of_target[columns].to_numpy()
        if found.shape != right.shape or not (np.abs(found - right) <= RELATIVE * np.abs(right)).all():
            sys.exit(f"{identity} {target}: the worker says {found}, the package {right}")
    if not (rows["imputed"] == forecast.imputed).all():
        sys.exit(f"{identity}: the worker imputed {rows['imputed'].iloc[0]} cells, the package {forecast.imputed}")


def main():
    check = json.loads(pathlib.Path(sys.argv[1]).read_text())
    package = foretell.load(check["model"])
    table = foretell.read_forecasts(sys.argv[2], sys.argv[3])
    arrow = foretell.read_forecasts(sys.argv[2], sys.argv[3], format="arrow")
    if arrow.num_rows != len(table) or arrow.column_names != list(table.columns):
        sys.exit(f"as Arrow the table has {arrow.num_rows} rows of {arrow.column_names}")
    expected = wanted(check, package)
    for (series, origin), rows in table.groupby(["series", "origin"]):
        identity = series, round(origin.timestamp() * 1000)
        forecast = expected.pop(identity, None)
        if forecast is None:
            sys.exit(f"{identity}: the package gives no forecast, the worker {len(rows)} rows")
        compare(identity, rows, forecast)
    if expected:
        sys.exit(f"{len(expected)} forecasts of the package are not on the topic, the first of {next(iter(expected))}")
    print(json.dumps({"forecasts": int(table.groupby(["series", "origin"]).ngroups)}))


if __name__ == "__main__":
    main()
