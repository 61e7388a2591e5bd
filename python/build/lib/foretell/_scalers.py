"""Scikit-learn's scalers as the contract's affine form, ``(value - center) / scale``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._errors import RefusedError

#: A fitted StandardScaler, MinMaxScaler, RobustScaler or MaxAbsScaler; centers and scales; or no scaling.
Scaler = Any

_KINDS = "StandardScaler, MinMaxScaler, RobustScaler, MaxAbsScaler"


def affine(scaler: Scaler, features: Sequence[str]) -> tuple[list[float], list[float]]:
    """Centers and scales, one per feature.

    Raises:
        RefusedError: When the scaler is of another kind, not fitted, or fitted on other columns.
    """
    if scaler is None:
        return [0.0] * len(features), [1.0] * len(features)
    if isinstance(scaler, tuple | list):
        return _lists(scaler, features)
    return _fitted(scaler, features)


def _lists(scaler: Sequence[Any], features: Sequence[str]) -> tuple[list[float], list[float]]:
    if len(scaler) != 2:
        raise RefusedError(f"scaler is a sequence of {len(scaler)}; it must be (centers, scales), a list each")
    columns = []
    for name, part in zip(("centers", "scales"), scaler, strict=True):
        values = np.asarray(part, np.float64)
        if values.shape != (len(features),):
            raise RefusedError(_width(f"scaler's {name}", values.size, features, "give one number per feature"))
        columns.append(values.tolist())
    return columns[0], columns[1]


def _fitted(scaler: Any, features: Sequence[str]) -> tuple[list[float], list[float]]:
    kind = _kind(scaler)
    if not hasattr(scaler, "n_features_in_"):
        raise RefusedError(f"scaler {kind} is not fitted: call fit on the columns {', '.join(features)}")
    width = int(scaler.n_features_in_)
    if width != len(features):
        raise RefusedError(_width(f"scaler {kind}", width, features, "fit it on exactly these columns, in this order"))
    names = [str(name) for name in getattr(scaler, "feature_names_in_", features)]
    if names != list(features):
        raise RefusedError(
            f"scaler {kind} was fitted on the columns {', '.join(names)}, features are "
            f"{', '.join(features)}: give features in the order of the scaler and of the model's input"
        )
    center, scale = _parameters(kind, scaler, width)
    _prove(kind, scaler, center, scale)
    return center.tolist(), scale.tolist()


def _kind(scaler: Any) -> str:
    # By name, so that scikit-learn need not be there to package without it.
    for base in type(scaler).__mro__:
        if base.__module__.startswith("sklearn.") and base.__name__ in _KINDS:
            return base.__name__
    raise RefusedError(f"scaler is a {type(scaler).__name__}; it must be one of {_KINDS}, or (centers, scales)")


def _parameters(kind: str, scaler: Any, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    zeros, ones = np.zeros(width), np.ones(width)

    def fitted(name: str, default: NDArray[np.float64]) -> NDArray[np.float64]:
        value = getattr(scaler, name, None)
        return default if value is None else np.asarray(value, np.float64)

    if kind == "StandardScaler":
        return (fitted("mean_", zeros) if scaler.with_mean else zeros), fitted("scale_", ones)
    if kind == "RobustScaler":
        return fitted("center_", zeros), fitted("scale_", ones)
    if kind == "MaxAbsScaler":
        return zeros, fitted("scale_", ones)
    # value * scale_ + min_
    factor = fitted("scale_", ones)
    return -fitted("min_", zeros) / factor, 1.0 / factor


def _prove(kind: str, scaler: Any, center: NDArray[np.float64], scale: NDArray[np.float64]) -> None:
    """Scales some rows both ways: a subclass, or clipping, would scale otherwise than the worker does."""
    steps = np.array([-1e3, -2.0, -1.0, 0.0, 0.3, 1.0, 2.0, 1e3])[:, None]
    rows = center + steps * scale
    transform = getattr(scaler, "transform")  # noqa: B009 - whatever object the caller gave
    names = getattr(scaler, "feature_names_in_", None)
    if names is not None:
        import pandas as pd

        found = transform(pd.DataFrame(rows, columns=names))
    else:
        found = transform(rows)
    if not np.allclose(np.asarray(found, np.float64), (rows - center) / scale, rtol=1e-6, atol=1e-6):
        raise RefusedError(
            f"scaler {kind} does more than (value - center) / scale, the one scaling of the worker: "
            "fit one without clip, or give (centers, scales)"
        )


def _width(what: str, found: int, features: Sequence[str], remedy: str) -> str:
    return f"{what} has {found} columns, features has {len(features)} ({', '.join(features)}): {remedy}"
