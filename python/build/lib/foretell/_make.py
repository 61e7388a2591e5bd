"""Model packages, made."""

from __future__ import annotations

import datetime
import json
import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray

from . import _onnx_file, _torch
from ._checks import check_export, check_graph, check_precision
from ._contract import FORMAT, KEY, Contract, Strategy, parse_value, parse_without_examples
from ._errors import RefusedError, about
from ._forecaster import Forecaster, model_inputs
from ._json import Node
from ._package import Package
from ._scalers import Scaler, affine
from ._session import RunError, Session
from ._window import milliseconds


def package(
    model: Any,
    path: str | os.PathLike[str],
    *,
    name: str,
    version: str,
    step: float | datetime.timedelta,
    window: int,
    horizon: int,
    features: Sequence[str],
    targets: Sequence[str],
    examples: Sequence[tuple[Any, ArrayLike]],
    scaler: Scaler = None,
    calendar: Sequence[str] = (),
    quantiles: Sequence[float] = (),
    strategy: Strategy = "direct",
    imputed_max: int | None = None,
) -> Package:
    """Makes a model package: one ONNX file that the worker can serve.

    The model sees float32 [n, window, features + 2 x calendar] in scaled space and gives float32
    [n, horizon, targets], also scaled: the means, and one more tensor per quantile. The worker scales and
    unscales.

    Args:
        model: A PyTorch module, an ONNX file, or an ``onnx.ModelProto``.
        path: Where the package goes; nothing is written unless every check passes.
        name: Name of the model, as every forecast will say it.
        version: Version of the model, likewise.
        step: Distance between two rows, seconds or a ``timedelta``.
        window: Rows that the model sees.
        horizon: Steps that it forecasts.
        features: Names of the input columns, in the order of the model's input.
        targets: Names of the features that it forecasts, in the order of its output.
        examples: 1 to 64 windows, each (times [window], values float64 [window, features] in the features'
            own units, oldest row first, nothing missing). Their forecasts are computed here, and recomputed
            by every worker before it serves the model. Take them from real data.
        scaler: What the model's inputs were scaled with: a fitted StandardScaler, MinMaxScaler, RobustScaler
            or MaxAbsScaler of scikit-learn, or (centers, scales), a number per feature. ``None``: not scaled.
        calendar: Any of ``minute_of_day``, ``day_of_week``, ``day_of_year``: a sine and a cosine each, UTC,
            which the worker appends after the features.
        quantiles: Levels of the quantiles, rising.
        strategy: ``direct``, or ``recursive`` for a model of one step, [n, 1, targets], that is fed back.
        imputed_max: Most missing cells of a window that the model accepts with imputed values.

    Returns:
        The package, loaded from what was written.

    Raises:
        PackageError: When the worker would refuse the package, in its words; or when this package can tell
            that it would not do what is meant.
    """
    target = Path(path)
    source = Path(model) if isinstance(model, str | os.PathLike) else target
    with about(source):
        data = _onnx_bytes(model)
        if data is not None:
            _onnx_file.scan(data)
    with about(target):
        names = _plain(features)
        if not isinstance(names, list):
            raise RefusedError(f"features is {names!r}; it must be a list of names")
        centers, scales = affine(scaler, [str(feature) for feature in names])
        value: dict[str, Any] = {
            "format": FORMAT,
            "name": name,
            "version": version,
            "step_seconds": _seconds(step),
            "window": _plain(window),
            "horizon": _plain(horizon),
            "features": [
                {"name": feature, "center": center, "scale": scale}
                for feature, center, scale in zip(names, centers, scales, strict=True)
            ],
            "calendar": _plain(calendar),
            "targets": _plain(targets),
            "quantiles": _plain(quantiles),
            "strategy": strategy,
        }
        if imputed_max is not None:
            value["imputed_max"] = _plain(imputed_max)
        contract = _with_examples(value, examples)
    with about(source):
        data, expected = _graph(model, data, contract)
        _fill_forecasts(value, data, contract, expected)
        data = _with_contract(data, value)
    made = Package(target, data)
    _write(target, data)
    return made


def _onnx_bytes(model: Any) -> bytes | None:
    """The bytes of an ONNX model, ``None`` for a PyTorch module."""
    if isinstance(model, onnx.ModelProto):
        return bytes(model.SerializeToString(deterministic=True))
    if isinstance(model, str | os.PathLike):
        try:
            return Path(model).read_bytes()
        except OSError as error:
            raise RefusedError(f"cannot read the model: {error.strerror}") from error
    if _torch.is_module(model):
        return None
    raise RefusedError(
        f"the model is a {type(model).__name__}; it must be a PyTorch module, an ONNX file or an onnx.ModelProto"
    )


def _with_examples(value: dict[str, Any], examples: Sequence[tuple[Any, ArrayLike]]) -> Contract:
    """Adds the examples, with zeros for the forecasts that are not computed yet."""
    contract = parse_without_examples(Node("", value))
    mean = [0.0] * contract.horizon
    forecast = {
        target: {"mean": mean} | ({"quantiles": [mean] * len(contract.quantiles)} if contract.quantiles else {})
        for target in contract.targets
    }
    value["examples"] = []
    for index, example in enumerate(examples):
        try:
            times, values = example
        except (TypeError, ValueError) as error:
            raise RefusedError(f"examples[{index}] is not a pair of times and values") from error
        rows = np.asarray(values, np.float64)
        if rows.ndim == 2 and np.isnan(rows).any():
            row, column = map(int, np.argwhere(np.isnan(rows))[0])
            raise RefusedError(
                f'contract key "examples[{index}].values[{row}][{column}]" is NaN; it must be a finite number: '
                "choose a window in which nothing is missing"
            )
        value["examples"].append({"times": milliseconds(times).tolist(), "values": rows.tolist(), "forecast": forecast})
    contract = parse_value(value)
    rows = np.concatenate([example.values for example in contract.examples])
    check_precision(contract, range(len(contract.features)), rows)
    return contract


def _graph(model: Any, data: bytes | None, contract: Contract) -> tuple[bytes, list[NDArray[np.float32]] | None]:
    """The ONNX bytes without a contract, and for a PyTorch module what it makes of the examples itself."""
    if data is not None:
        return data, None
    rows = [model_inputs(contract, example.values, example.origin_ms) for example in contract.examples]
    return _torch.export(model, contract, np.stack(rows))


def _fill_forecasts(
    value: dict[str, Any], data: bytes, contract: Contract, expected: list[NDArray[np.float32]] | None
) -> None:
    """Runs the examples and puts their forecasts into the contract."""
    session = Session(data)
    forecaster = Forecaster(session, contract)
    check_graph(onnx.load_model_from_string(data), session, contract)
    if not forecaster.any_rows:
        warnings.warn(
            "the model's batch dimension is fixed at 1, so the worker runs it one row at a time, which is "
            "slower: export it with a dynamic batch",
            stacklevel=4,
        )
    if expected is not None:
        check_export(session, contract, expected)
    for index, example in enumerate(contract.examples):
        try:
            forecast = forecaster.run(example.values, example.origin_ms)
        except RunError as error:
            raise RefusedError(f"example {index} gave no forecast: {error}") from error
        value["examples"][index]["forecast"] = {
            target: {"mean": outputs[0].tolist()} | ({"quantiles": outputs[1:].tolist()} if contract.quantiles else {})
            for target, outputs in zip(contract.targets, forecast, strict=True)
        }
        check_precision(contract, contract.target_columns, forecast.reshape(len(contract.targets), -1).T)


def _with_contract(data: bytes, value: dict[str, Any]) -> bytes:
    model = onnx.load_model_from_string(data)
    others = [entry for entry in model.metadata_props if entry.key != KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    model.metadata_props.add(key=KEY, value=json.dumps(value, allow_nan=False, ensure_ascii=False))
    return bytes(model.SerializeToString(deterministic=True))


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all: a worker may be about to read the file."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        # mkstemp lets nobody else read.
        umask = os.umask(0)
        os.umask(umask)
        Path(draft).chmod(0o666 & ~umask)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _seconds(step: float | datetime.timedelta) -> Any:
    seconds = step.total_seconds() if isinstance(step, datetime.timedelta) else _plain(step)
    return int(seconds) if isinstance(seconds, float) and seconds.is_integer() else seconds


def _plain(value: Any) -> Any:
    """Numpy's numbers and arrays, tuples and other sequences as JSON has them; text stays text."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if hasattr(value, "__iter__"):
        return [_plain(entry) for entry in value]
    return value
