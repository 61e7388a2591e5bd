"""Model packages, loaded and run as the worker runs them."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _onnx_file
from ._contract import Contract
from ._errors import NoForecastError, PackageError, about
from ._forecaster import Forecaster
from ._session import RunError, Session
from ._window import complete, milliseconds


@dataclass(frozen=True)
class Forecast:
    """A forecast of one window, in the targets' own units.

    Attributes:
        origin_ms: Time of the newest row of the window, milliseconds since the Unix epoch.
        step_ms: Distance between two values; the first lies one step after the origin.
        targets: Names of the targets.
        levels: Levels of the quantiles.
        mean: float64 [horizon, targets].
        quantiles: float64 [levels, horizon, targets].
        imputed: Cells of the window that were missing and took an older value.
    """

    origin_ms: int
    step_ms: int
    targets: tuple[str, ...]
    levels: tuple[float, ...]
    mean: NDArray[np.float64]
    quantiles: NDArray[np.float64]
    imputed: int

    @property
    def times(self) -> NDArray[np.datetime64]:
        """The time of each step, datetime64[ms] [horizon], UTC."""
        steps = np.arange(1, len(self.mean) + 1, dtype=np.int64)
        return (self.origin_ms + steps * self.step_ms).astype("datetime64[ms]")


class Package:
    """A model package that passed every check of the worker.

    Attributes:
        path: The file.
        contract: What the model needs and gives.
        digest: SHA-256 of the file, lower-case hexadecimal, as in every forecast that the worker makes.
        example_errors: Per example of the contract, how far the recomputed forecast is from the expected
            one, in scaled units; below 1e-4.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        """Takes the bytes of a package; :func:`load` reads them from its file.

        Raises:
            PackageError: In the worker's words, when it would not serve them.
        """
        self.path = path
        self.digest = hashlib.sha256(data).hexdigest()
        with about(path):
            self.contract = Contract.parse(_onnx_file.contract_text(data))
            self._forecaster = Forecaster(Session(data), self.contract)
            self.example_errors = tuple(self._forecaster.recompute())

    def __repr__(self) -> str:
        return f"<foretell.Package {self.contract.name} {self.contract.version} ({self.path})>"

    def forecast(self, times: Any, values: ArrayLike, *, gap_max: int = 3, phase: float = 0.0) -> Forecast:
        """What the worker would forecast after the newest of these rows.

        Args:
            times: [rows], one per row, in any order: whole milliseconds since the Unix epoch, ``datetime64``
                (UTC) or ``datetime`` with a time zone.
            values: float64 [rows, features] in the features' own units and the contract's order, NaN where a
                cell is missing. Rows may be missing too; rows too old to matter are left alone.
            gap_max: ``window.gap_max`` of the worker's configuration: how many slots older the value of a
                missing cell may be.
            phase: ``window.phase`` of the worker's configuration, seconds.

        Returns:
            The forecast, in the targets' own units.

        Raises:
            NoForecastError: When the worker would publish none: too much is missing, or the model's output
                is not finite.
            ForetellError: When the rows could not be those of one series.
        """
        origin, window, imputed = complete(self.contract, times, values, gap_max=gap_max, phase_ms=round(phase * 1000))
        try:
            outputs = self._forecaster.run(window, origin)
        except RunError as error:
            raise NoForecastError(f"the model gives no forecast: {error}") from error
        return Forecast(
            origin_ms=origin,
            step_ms=self.contract.step_ms,
            targets=self.contract.targets,
            levels=self.contract.quantiles,
            mean=outputs[:, 0].T.copy(),
            quantiles=outputs[:, 1:].transpose(1, 2, 0).copy(),
            imputed=imputed,
        )

    def forecast_windows(self, origins: Any, windows: ArrayLike) -> NDArray[np.float64]:
        """Forecasts many complete windows, for backtests.

        Args:
            origins: [n], the time of the newest row of each window, as in :meth:`forecast`.
            windows: float64 [n, window, features], without missing cells, oldest row first.

        Returns:
            float64 [n, 1 + quantiles, horizon, targets], the means first; NaN where the worker would publish
            no forecast.
        """
        contract = self.contract
        rows = np.asarray(windows, np.float64)
        wanted = (contract.window, len(contract.features))
        if rows.ndim != 3 or rows.shape[1:] != wanted or not np.isfinite(rows).all():
            raise ValueError(
                f"windows have the shape {list(rows.shape)}; they must be finite and [n, {wanted[0]}, {wanted[1]}]"
            )
        shape = (len(rows), 1 + len(contract.quantiles), contract.horizon, len(contract.targets))
        forecasts = np.full(shape, np.nan)
        for index, (origin, row) in enumerate(zip(milliseconds(origins), rows, strict=True)):
            with contextlib.suppress(RunError):
                forecasts[index] = self._forecaster.run(row, int(origin)).transpose(1, 2, 0)
        return forecasts


def load(path: str | os.PathLike[str]) -> Package:
    """Loads a package and checks it as the worker does before it serves.

    Raises:
        PackageError: In the worker's words, when it would not serve the file.
    """
    file = Path(path)
    try:
        with file.open("rb") as opened:
            # One byte more than allowed, so that a file that grows, or a pipe, is bounded too.
            data = opened.read(_onnx_file.PACKAGE_BYTES_MAX + 1)
    except OSError as error:
        raise PackageError(str(file), f"cannot read the model package: {error.strerror}") from error
    return Package(file, data)
