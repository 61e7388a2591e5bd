"""Model packages: made, loaded, and run as the worker runs them."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray

from . import _onnx_file, _torch
from ._contract import FORMAT, KEY, Contract, Strategy, parse_value, parse_without_examples
from ._errors import NoForecastError, PackageError, RefusedError
from ._forecaster import TOLERANCE, Forecaster, model_inputs
from ._json import Node
from ._scalers import Scaler, affine
from ._session import RunError, Session
from ._window import complete, milliseconds

# Operators whose outputs differ from run to run: the same input must give the same forecast.
_RANDOM = {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
}
_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}
# What one unit in the last place of a value may amount to, in scaled units: an eighth of what float32 keeps.
_ULP_MAX = 2.0**-26


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
        with _about(path):
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
        data = file.read_bytes()
    except OSError as error:
        raise PackageError(str(file), f"cannot read the model package: {error.strerror}") from error
    return Package(file, data)


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
    with _about(source):
        data = _onnx_bytes(model)
        if data is not None:
            _onnx_file.scan(data)
    with _about(target):
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
    with _about(source):
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
    _check_precision(contract, range(len(contract.features)), rows)
    return contract


def _check_precision(contract: Contract, columns: Sequence[int], values: NDArray[np.float64]) -> None:
    """Refuses scalings that cancel all but the last digits of a float64.

    Other readers of the contract may round its decimals in the last digit, and forecasts would differ.

    Args:
        contract: The contract.
        columns: Features, by their index.
        values: float64 [n, columns], in the features' own units.
    """
    centers, scales = contract.centers[list(columns)], contract.scales[list(columns)]
    with np.errstate(over="ignore"):
        last_digit = np.maximum(np.abs(values), np.abs(centers)) * 2.0**-52 / scales
        lost = (last_digit / np.maximum(np.abs((values - centers) / scales), 1.0)).max(axis=0)
    for column, share in zip(columns, lost, strict=True):
        if share > _ULP_MAX:
            feature = contract.features[column]
            raise RefusedError(
                f'feature "{feature.name}" has a center of {feature.center:.3g} and a scale of {feature.scale:.3g}, '
                "which leave too few of the digits of float64: subtract an offset from the feature before it is "
                "published, or give it a larger scale"
            )


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
    _check_graph(onnx.load_model_from_string(data), session, contract)
    if not forecaster.any_rows:
        warnings.warn(
            "the model's batch dimension is fixed at 1, so the worker runs it one row at a time, which is "
            "slower: export it with a dynamic batch",
            stacklevel=4,
        )
    if expected is not None:
        _check_export(session, contract, expected)
    for index, example in enumerate(contract.examples):
        try:
            forecast = forecaster.run(example.values, example.origin_ms)
        except RunError as error:
            raise RefusedError(f"example {index} gave no forecast: {error}") from error
        value["examples"][index]["forecast"] = {
            target: {"mean": outputs[0].tolist()} | ({"quantiles": outputs[1:].tolist()} if contract.quantiles else {})
            for target, outputs in zip(contract.targets, forecast, strict=True)
        }
        _check_precision(contract, contract.target_columns, forecast.reshape(len(contract.targets), -1).T)


def _check_graph(model: onnx.ModelProto, session: Session, contract: Contract) -> None:
    """What this package refuses beyond the worker."""
    name, sizes = session.inputs[0].name, session.inputs[0].dimensions
    if None in sizes[1:]:
        raise RefusedError(
            f'the graph\'s input "{name}" is {session.inputs[0].kind}, of changing window or width; export it '
            f"as [n, {contract.window}, {contract.width}], with no dimension dynamic but the batch"
        )
    functions = {(function.domain, function.name) for function in model.functions}
    for node in _nodes(model):
        if (node.domain, node.op_type) in functions:
            continue
        if node.domain not in _DOMAINS:
            raise RefusedError(
                f"the graph uses the operator {node.op_type} of the domain {node.domain}; the worker runs the "
                "operators of ONNX only: export the model without custom or fused operators"
            )
        if node.op_type in _RANDOM:
            raise RefusedError(
                f"the graph uses {node.op_type}, so the same window would not give the same forecast twice: "
                "export it in evaluation mode, without sampling"
            )


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those in bodies and functions too."""
    rest = list(model.graph.node) + [node for function in model.functions for node in function.node]
    while rest:
        node = rest.pop()
        yield node
        for attribute in node.attribute:
            rest += attribute.g.node
            rest += [inner for graph in attribute.graphs for inner in graph.node]


def _check_export(session: Session, contract: Contract, expected: list[NDArray[np.float32]]) -> None:
    """Compares the exported graph with the module on the examples."""
    steps = contract.horizon if contract.strategy == "direct" else 1
    for row in range(len(contract.examples)):
        inputs = model_inputs(contract, contract.examples[row].values, contract.examples[row].origin_ms)
        try:
            found = session.run(inputs[None], (1, steps, len(contract.targets)))
        except RunError as error:
            raise RefusedError(f"example {row} gave no forecast: {error}") from error
        for output, (one, other) in enumerate(zip(found, expected, strict=True)):
            error_ = np.abs(one[0] - other[row]) / np.maximum(np.abs(other[row]), 1.0)
            if np.isfinite(other[row]).all() and not (error_ <= TOLERANCE).all():
                raise RefusedError(
                    f"the exported graph's output {output} differs from the module's own by "
                    f"{float(np.nanmax(error_)):.1e} in example {row}: its forward takes a path that depends on "
                    "the data or on the batch, which an ONNX graph does not follow"
                )


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


@contextlib.contextmanager
def _about(path: Path) -> Iterator[None]:
    """Adds the file to a refusal."""
    try:
        yield
    except RefusedError as refusal:
        raise PackageError(str(path), str(refusal)) from refusal.__cause__
