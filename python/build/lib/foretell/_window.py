"""From raw rows of one series to a complete window, by the worker's rules.

The counterpart of the worker's ``window/complete.rs``: a missing cell takes the last value of its feature at
most ``gap_max`` slots back.
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._contract import Contract
from ._errors import ForetellError, NoForecastError

#: How far from a slot a time may lie, as a share of the step.
GRID_TOLERANCE = 0.1


def milliseconds(times: Any) -> NDArray[np.int64]:
    """Times as milliseconds since the Unix epoch, int64 [rows].

    Args:
        times: Whole numbers (milliseconds), ``datetime64``, ``datetime`` with a time zone, or a pandas
            index or column of times. Times without a zone are UTC, but ``datetime`` without one is refused.
    """
    entries = list(times)
    if any(isinstance(entry, datetime.datetime) and entry.tzinfo is None for entry in entries) and not _is_numpy(times):
        raise ForetellError("times have no time zone; give them one, such as datetime.timezone.utc")
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    if entries and all(isinstance(entry, datetime.datetime) and entry.tzinfo for entry in entries):
        return np.array([(entry - epoch) // datetime.timedelta(milliseconds=1) for entry in entries], np.int64)
    array = np.asarray(times)
    if array.dtype.kind == "M":
        if np.isnat(array).any():
            raise ForetellError("times have an empty entry (NaT); leave its row out")
        return array.astype("datetime64[ms]").astype(np.int64)
    if array.dtype.kind in "iu" or not entries:
        return array.astype(np.int64)
    raise ForetellError(
        f"times are of type {array.dtype}; they must be whole milliseconds since the Unix epoch, datetime64, "
        "or datetime with a time zone"
    )


def _is_numpy(times: Any) -> bool:
    return getattr(getattr(times, "dtype", None), "kind", "") == "M"


def complete(
    contract: Contract, times: Any, values: ArrayLike, *, gap_max: int, phase_ms: int
) -> tuple[int, NDArray[np.float64], int]:
    """The newest window of some rows.

    Args:
        contract: The model's contract.
        times: [rows], see :func:`milliseconds`.
        values: float64 [rows, features], NaN where a cell is missing, in the contract's order.
        gap_max: Slots that a missing cell's value may be older.
        phase_ms: Distance of the slots from multiples of the step since the Unix epoch.

    Returns:
        The origin in milliseconds, the values float64 [window, features], and the count of imputed cells.

    Raises:
        NoForecastError: When more is missing than may be imputed.
        ForetellError: When the rows cannot be those of a series.
    """
    origin, grid = _grid(contract, milliseconds(times), _rows(contract, values), gap_max, phase_ms)
    window = grid[gap_max:].copy()
    for back in range(1, gap_max + 1):
        older = grid[gap_max - back : len(grid) - back]
        window = np.where(np.isnan(window), older, window)
    if np.isnan(window).any():
        row, column = map(int, np.argwhere(np.isnan(window))[0])
        time = origin - (contract.window - 1 - row) * contract.step_ms
        raise NoForecastError(
            f'the window is incomplete: feature "{contract.feature_names[column]}" has no value at {time} ms, '
            f"nor in the {gap_max} slots before (gap_max)"
        )
    imputed = int(np.isnan(grid[gap_max:]).sum())
    if contract.imputed_max is not None and imputed > contract.imputed_max:
        raise NoForecastError(
            f"the window is incomplete: {imputed} cells are missing, the model accepts "
            f"{contract.imputed_max} (imputed_max)"
        )
    return origin, window, imputed


def _rows(contract: Contract, values: ArrayLike) -> NDArray[np.float64]:
    rows = np.asarray(values, np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(contract.features):
        raise ForetellError(
            f"values have the shape {list(rows.shape)}; they must be [rows, {len(contract.features)}], a column "
            f"per feature: {', '.join(contract.feature_names)}"
        )
    if np.isinf(rows).any():
        raise ForetellError("values have an infinite entry; the worker rejects such a row as not_finite")
    return rows


def _grid(
    contract: Contract, times: NDArray[np.int64], rows: NDArray[np.float64], gap_max: int, phase_ms: int
) -> tuple[int, NDArray[np.float64]]:
    """The origin, and the newest window + gap_max slots, NaN where nothing is known."""
    if times.shape != (len(rows),) or not len(rows):
        raise ForetellError(f"times are {list(times.shape)}, values {list(rows.shape)}: give a time per row")
    step = contract.step_ms
    since = times - phase_ms
    # A time exactly between two slots goes to the later one.
    slots = (2 * since + step) // (2 * step)
    off = np.abs(since - slots * step)
    if (off > step * GRID_TOLERANCE).any():
        worst = int(np.argmax(off))
        raise ForetellError(
            f"the time {times[worst]} ms is {off[worst]} ms off the grid of {step} ms; "
            "the worker rejects such a row as off_grid (set phase if all are shifted)"
        )
    newest = int(slots.max())
    grid = np.full((contract.window + gap_max, len(contract.features)), np.nan)
    for slot, row in zip(slots - newest + len(grid) - 1, rows, strict=True):
        if slot < 0:
            continue
        known = grid[slot]
        if (np.isfinite(known) & np.isfinite(row) & (known != row)).any():
            raise ForetellError(
                f"two rows at slot time {(newest - (len(grid) - 1 - int(slot))) * step + phase_ms} ms differ; "
                "the worker rejects the second as conflicting_duplicate"
            )
        grid[slot] = np.where(np.isnan(row), known, row)
    return newest * step + phase_ms, grid
