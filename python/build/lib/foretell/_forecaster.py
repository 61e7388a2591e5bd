"""From complete windows to forecasts, in the worker's way, and the proof that examples hold.

The counterparts of the worker's ``infer/batch.rs``, ``layout.rs``, ``recursion.rs``, ``forecaster.rs`` and
``check/``. Each row is run alone: a worker shares runs only among rows whose forecasts do not depend on it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._calendar import calendar_inputs
from ._contract import Contract, plain
from ._errors import RefusedError
from ._session import RunError, Session, check_signature, steps_per_run

#: Largest error of an example: the difference in scaled units, relative where the expected value is more
#: than one unit from the center.
TOLERANCE = 1e-4
# Why a row has no forecast, in the words of the worker's ``infer/outputs.rs``.
_NOT_FINITE = "the model gave NaN or an infinite value for this window"
_INPUT_OUT_OF_RANGE = "a value of this window does not fit a float32 once it is scaled"


class Forecaster:
    """A loaded model and its contract.

    Attributes:
        any_rows: False when the graph's batch dimension is fixed at 1.
    """

    def __init__(self, session: Session, contract: Contract) -> None:
        """Raises :class:`RefusedError` when the graph is not the contract's."""
        self.any_rows = check_signature(session, contract)
        self._session = session
        self._contract = contract

    def run(self, values: NDArray[np.float64], origin_ms: int) -> NDArray[np.float64]:
        """Forecasts one window.

        Args:
            values: float64 [window, features], finite, in the features' own units, oldest row first.
            origin_ms: Time of the newest row, milliseconds since the Unix epoch.

        Returns:
            float64 [targets, 1 + quantiles, horizon], in the targets' own units, the means first.

        Raises:
            RunError: When there is no forecast to publish.
        """
        contract = self._contract
        inputs = model_inputs(contract, values, origin_ms)
        # A model may turn an infinite input into a finite output, which would be a forecast from a value
        # that was never observed.
        if not np.isfinite(inputs).all():
            raise RunError(_INPUT_OUT_OF_RANGE)
        if contract.strategy == "direct":
            shape = (1, steps_per_run(contract), len(contract.targets))
            outputs = np.concatenate(self._session.run(inputs[None], shape))
        else:
            outputs = self._recursive(inputs, origin_ms)
        columns = contract.target_columns
        # [outputs, horizon, targets] -> [targets, outputs, horizon]
        with np.errstate(over="ignore", invalid="ignore"):
            unscaled = outputs.astype(np.float64) * contract.scales[columns] + contract.centers[columns]
        if not np.isfinite(unscaled).all():
            raise RunError(_NOT_FINITE)
        return np.ascontiguousarray(unscaled.transpose(2, 0, 1))

    def _recursive(self, inputs: NDArray[np.float32], origin_ms: int) -> NDArray[np.float32]:
        """The outputs of every step, [1, horizon, targets]: each becomes the newest row of the next run."""
        contract = self._contract
        columns = contract.target_columns
        steps = []
        for step in range(contract.horizon):
            [output] = self._session.run(inputs[None], (1, 1, len(columns)))
            steps.append(output[0, 0])
            row = inputs[-1].copy()
            row[columns] = output[0, 0]
            time = np.array(origin_ms + (step + 1) * contract.step_ms, np.int64)
            row[len(contract.features) :] = calendar_inputs(contract.calendar, time)
            inputs = np.concatenate([inputs[1:], row[None]])
        return np.stack(steps)[None]

    def recompute(self) -> list[float]:
        """Runs every example and compares its forecast with the expected one.

        Returns:
            Per example, its largest error, in the measure of :data:`TOLERANCE`.

        Raises:
            RefusedError: When an example gives no forecast, or another one.
        """
        errors = []
        for index, example in enumerate(self._contract.examples):
            try:
                found = self.run(example.values, example.origin_ms)
            except RunError as error:
                raise RefusedError(f"example {index} gave no forecast: {error}") from error
            errors.append(self._compare(index, found, example.forecast))
        return errors

    def _compare(self, index: int, found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
        contract = self._contract
        columns = contract.target_columns
        scales = contract.scales[columns][:, None, None]
        with np.errstate(over="ignore", invalid="ignore"):
            size = np.abs((expected - contract.centers[columns][:, None, None]) / scales)
            error = np.abs((found - expected) / scales) / np.maximum(size, 1.0)
        target, output, step = np.unravel_index(int(np.argmax(error)), error.shape)
        worst = float(error[target, output, step])
        if worst > TOLERANCE:
            what = "mean" if output == 0 else f"quantile {plain(contract.quantiles[output - 1])}"
            raise RefusedError(
                f"example {index} gave {plain(found[target, output, step])} for {contract.targets[target]} "
                f"{what} of step {step + 1}, expected {plain(expected[target, output, step])}: an error of "
                f"{_short(worst)}, above {_short(TOLERANCE, 0)}; the model, its scaling or its examples are "
                "not those that were trained"
            )
        return worst


def model_inputs(contract: Contract, values: NDArray[np.float64], origin_ms: int) -> NDArray[np.float32]:
    """What a model sees of a window, float32 [window, width]: scaled in float64, then the calendar."""
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = ((values - contract.centers) / contract.scales).astype(np.float32)
    times = origin_ms + np.arange(1 - contract.window, 1, dtype=np.int64) * contract.step_ms
    return np.concatenate([scaled, calendar_inputs(contract.calendar, times)], axis=1)


def _short(value: float, digits: int = 1) -> str:
    """``1.4e-2``, as the worker writes it."""
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa}e{int(exponent)}"
