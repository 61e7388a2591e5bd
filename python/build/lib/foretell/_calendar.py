"""Calendar features: where a time stands in its day, week and year, as a sine and a cosine each.

UTC and the proleptic Gregorian calendar, as in the worker's ``infer/calendar.rs``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_DAY_MS = 86_400_000
_PERIODS = {"minute_of_day": 1440.0, "day_of_week": 7.0, "day_of_year": 365.25}


def calendar_inputs(names: tuple[str, ...], times_ms: NDArray[np.int64]) -> NDArray[np.float32]:
    """Sine, then cosine, of each feature.

    Args:
        names: Calendar features, in the contract's order.
        times_ms: int64 [...], milliseconds since the Unix epoch.

    Returns:
        float32 [..., 2 x names].
    """
    if not names:
        return np.empty((*times_ms.shape, 0), np.float32)
    columns = []
    for name in names:
        angle = 2.0 * np.pi * _value(name, times_ms).astype(np.float64) / _PERIODS[name]
        columns += [np.sin(angle), np.cos(angle)]
    return np.stack(columns, axis=-1).astype(np.float32)


def _value(name: str, times_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    day = times_ms // _DAY_MS
    if name == "minute_of_day":
        return times_ms % _DAY_MS // 60_000
    if name == "day_of_week":
        # Monday = 0; 1970-01-01 was a Thursday.
        return (day + 3) % 7
    # The first of January = 1.
    first = day.astype("datetime64[D]").astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    return day - first + 1
