"""The contract: what a model needs and gives. It travels inside the ONNX file as JSON.

A :class:`Contract` exists only if every rule of it holds: :meth:`Contract.parse` is the one way to make
it. The rules, their order and their words are those of the worker's ``contract/parse.rs``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from . import _json
from ._errors import RefusedError
from ._json import Node, Object

#: Metadata key of the contract in an ONNX file.
KEY = "foretell.contract"
FORMAT = 1
CONTRACT_BYTES_MAX = 16 * 1024 * 1024
NAME_BYTES_MAX = 256
WINDOW_MAX = 4_096
HORIZON_MAX = 4_096
FEATURES_MAX = 256
QUANTILES_MAX = 32
EXAMPLES_MAX = 64
ROW_INPUTS_MAX = 65_536
ROW_OUTPUTS_MAX = 65_536
STEP_SECONDS_MAX = 366 * 86_400
TIME_MS_MAX = 1 << 52
CALENDAR = ("minute_of_day", "day_of_week", "day_of_year")
KEYS = (
    "format",
    "name",
    "version",
    "step_seconds",
    "window",
    "horizon",
    "features",
    "calendar",
    "targets",
    "quantiles",
    "strategy",
    "imputed_max",
    "examples",
)

Strategy = Literal["direct", "recursive"]


@dataclass(frozen=True)
class Feature:
    """An input column. The model sees ``(value - center) / scale``; ``scale`` is above zero."""

    name: str
    center: float
    scale: float


@dataclass(frozen=True)
class Example:
    """An input window and the forecast expected from it, all in the features' own units.

    Attributes:
        origin_ms: Time of the newest row, milliseconds since the Unix epoch.
        values: float64 [window, features], oldest row first.
        forecast: float64 [targets, 1 + quantiles, horizon], the means first.
    """

    origin_ms: int
    values: NDArray[np.float64]
    forecast: NDArray[np.float64]


@dataclass(frozen=True)
class Contract:
    """What a model needs and gives.

    Attributes:
        name: Name of the model.
        version: Version of the model.
        step_ms: Distance between two rows of a window, milliseconds.
        window: Rows that the model sees.
        horizon: Steps that it forecasts.
        features: Input columns, in the order of the input tensor.
        calendar: Calendar features; sine and cosine of each stand after the features.
        targets: Names of the features that are forecast, in the order of the output tensors.
        quantiles: Levels, rising; one output tensor each, after that of the means.
        strategy: ``direct`` (one run gives all steps) or ``recursive`` (a run gives one, and is fed back).
        imputed_max: Most imputed cells that the model accepts; ``None`` leaves it to the worker.
        examples: Windows with the forecasts expected from them.
    """

    name: str
    version: str
    step_ms: int
    window: int
    horizon: int
    features: tuple[Feature, ...]
    calendar: tuple[str, ...]
    targets: tuple[str, ...]
    quantiles: tuple[float, ...]
    strategy: Strategy
    imputed_max: int | None
    examples: tuple[Example, ...]

    @property
    def width(self) -> int:
        """Inputs per row: the features, then sine and cosine of each calendar feature."""
        return len(self.features) + 2 * len(self.calendar)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features, in the order of the input tensor."""
        return tuple(feature.name for feature in self.features)

    @property
    def centers(self) -> NDArray[np.float64]:
        """float64 [features]."""
        return np.array([feature.center for feature in self.features], np.float64)

    @property
    def scales(self) -> NDArray[np.float64]:
        """float64 [features], above zero."""
        return np.array([feature.scale for feature in self.features], np.float64)

    @property
    def target_columns(self) -> list[int]:
        """Per target, its index among the features."""
        return [self.feature_names.index(target) for target in self.targets]

    @staticmethod
    def parse(text: str) -> Contract:
        """Reads a contract.

        Raises:
            RefusedError: With the key of the first rule that is broken.
        """
        length = len(text.encode("utf-8", "surrogatepass"))
        if length > CONTRACT_BYTES_MAX:
            raise RefusedError(
                f"the contract has {length} bytes; at most {CONTRACT_BYTES_MAX} are allowed: keep fewer examples"
            )
        return parse_value(_json.read(text))


def parse_value(value: object) -> Contract:
    """Reads a contract from its JSON value."""
    root = Node("", value).object(*KEYS)
    contract = parse_without_examples(Node("", value))
    examples = root.required("examples").list(1, EXAMPLES_MAX)
    return replace(contract, examples=tuple(_example(node, contract) for node in examples))


def parse_without_examples(node: Node) -> Contract:
    """Reads everything but the examples."""
    root = node.object(*KEYS)
    root.required("format").integer(FORMAT, FORMAT)
    features = _features(root.required("features"))
    contract = Contract(
        features=features,
        name=root.required("name").name(NAME_BYTES_MAX),
        version=root.required("version").name(NAME_BYTES_MAX),
        step_ms=_step_ms(root.required("step_seconds")),
        window=root.required("window").integer(1, WINDOW_MAX),
        horizon=root.required("horizon").integer(1, HORIZON_MAX),
        calendar=_calendar(root.get("calendar")),
        targets=_targets(root.required("targets"), [feature.name for feature in features]),
        quantiles=_quantiles(root.get("quantiles")),
        strategy=_strategy(root.required("strategy")),
        imputed_max=_imputed_max(root.get("imputed_max")),
        examples=(),
    )
    _check_together(contract, root)
    return contract


def _check_together(contract: Contract, root: Object) -> None:
    """The rules that need more than one key."""
    inputs = contract.window * contract.width
    if inputs > ROW_INPUTS_MAX:
        raise root.required("window").invalid(
            f"so small that window x (features + 2 x calendar), now {inputs}, is at most {ROW_INPUTS_MAX}"
        )
    outputs = len(contract.targets) * (1 + len(contract.quantiles)) * contract.horizon
    if outputs > ROW_OUTPUTS_MAX:
        raise root.required("horizon").invalid(
            f"so small that targets x (1 + quantiles) x horizon, now {outputs}, is at most {ROW_OUTPUTS_MAX}"
        )
    if contract.strategy == "recursive" and contract.quantiles:
        # The spread of step k would be that of one step from a mean, far too narrow.
        raise root.required("quantiles").invalid(
            "absent with the recursive strategy, whose outputs only carry the mean forward"
        )


def _step_ms(node: Node) -> int:
    seconds = node.number()
    if abs(seconds) <= STEP_SECONDS_MAX:
        step_ms = round(seconds * 1_000)
        # Decimal fractions such as 0.1 are not exact in binary; a step that is no whole number of
        # milliseconds misses by far more.
        if abs(seconds * 1_000 - step_ms) < 1e-6 and 1 <= step_ms <= STEP_SECONDS_MAX * 1_000:
            return step_ms
    raise node.invalid(f"a whole number of milliseconds, given in seconds, from 0.001 to {STEP_SECONDS_MAX}")


def _features(node: Node) -> tuple[Feature, ...]:
    features: list[Feature] = []
    for entry in node.list(1, FEATURES_MAX):
        fields = entry.object("name", "center", "scale")
        name = fields.required("name")
        text = name.name(NAME_BYTES_MAX)
        if any(feature.name == text for feature in features):
            raise name.invalid("different from the names of the other features")
        scale = fields.required("scale")
        factor = scale.number()
        if factor < 0.0:
            raise scale.invalid("zero, which means 1, or above")
        features.append(Feature(text, fields.required("center").number(), factor or 1.0))
    return tuple(features)


def _calendar(node: Node | None) -> tuple[str, ...]:
    names: list[str] = []
    for entry in node.list(0, len(CALENDAR)) if node else []:
        name = entry.name(NAME_BYTES_MAX)
        if name not in CALENDAR or name in names:
            raise entry.invalid(f"one of {', '.join(CALENDAR)}, each at most once")
        names.append(name)
    return tuple(names)


def _targets(node: Node, features: list[str]) -> tuple[str, ...]:
    names: list[str] = []
    for entry in node.list(1, len(features)):
        name = entry.name(NAME_BYTES_MAX)
        if name not in features or name in names:
            raise entry.invalid("the name of a feature, each at most once")
        names.append(name)
    return tuple(names)


def _quantiles(node: Node | None) -> tuple[float, ...]:
    levels: list[float] = []
    for entry in node.list(0, QUANTILES_MAX) if node else []:
        level = entry.number()
        above = levels[-1] if levels else 0.0
        if level <= above or level >= 1.0:
            raise entry.invalid(f"above {plain(above)} and below 1: levels rise")
        levels.append(level)
    return tuple(levels)


def _strategy(node: Node) -> Strategy:
    name = node.name(NAME_BYTES_MAX)
    if name == "direct":
        return "direct"
    if name == "recursive":
        return "recursive"
    raise node.invalid("direct or recursive")


def _imputed_max(node: Node | None) -> int | None:
    return node.integer(0, 2**32 - 1) if node else None


def _example(node: Node, contract: Contract) -> Example:
    fields = node.object("times", "values", "forecast")
    origin_ms = _origin_ms(fields.required("times"), contract)
    rows = fields.required("values").list(contract.window, contract.window)
    values = [row.numbers(len(contract.features)) for row in rows]
    expected = fields.required("forecast").object(*contract.targets)
    levels = len(contract.quantiles)
    forecast: list[list[tuple[float, ...]]] = []
    for name in contract.targets:
        target = expected.required(name).object("mean", "quantiles")
        outputs = [target.required("mean").numbers(contract.horizon)]
        if levels or target.get("quantiles") is not None:
            quantiles = target.required("quantiles").list(levels, levels)
            outputs += [quantile.numbers(contract.horizon) for quantile in quantiles]
        forecast.append(outputs)
    return Example(origin_ms, np.array(values, np.float64), np.array(forecast, np.float64))


def _origin_ms(times: Node, contract: Contract) -> int:
    """The time of the newest row; the rows must be one step apart."""
    newest: int | None = None
    for entry in times.list(contract.window, contract.window):
        time = entry.integer(-TIME_MS_MAX, TIME_MS_MAX)
        if newest is not None and time - newest != contract.step_ms:
            raise entry.invalid(f"{newest + contract.step_ms}, one step after the time before it")
        newest = time
    assert newest is not None, "a window has at least one row"
    return newest


def plain(value: float) -> str:
    """A float64 as the worker writes it into a sentence: shortest digits, never an exponent."""
    text = np.format_float_positional(value, unique=True, trim="-")
    return text if "." in text else text.removesuffix(".")
