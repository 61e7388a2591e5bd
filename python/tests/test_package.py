"""Packages made: what is written passes the worker's check, and what cannot be one is named."""

from __future__ import annotations

import datetime
import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import foretell
from conftest import LAST_SLOT, arguments, check, last_slot, last_value, model


def refused(tmp_path: Path, graph: Any = None, **changes: Any) -> str:
    """Why no package is made; nothing is written."""
    file = tmp_path / "package.onnx"
    with pytest.raises(foretell.PackageError) as error:
        foretell.package(last_value() if graph is None else graph, file, **arguments(**changes))
    assert str(error.value).startswith(error.value.file)
    assert "\n" not in error.value.reason
    assert list(tmp_path.glob("package*")) == []
    return error.value.reason


def served(binary: Path, made: foretell.Package) -> None:
    """The worker serves it, and its forecasts agree to 1e-6."""
    verdict = check(binary, made.path)
    assert verdict.reason is None
    assert verdict.error is not None and verdict.error < 1e-6


def test_a_package_is_served(binary: Path, tmp_path: Path) -> None:
    made = foretell.package(last_value(), tmp_path / "m.onnx", **arguments())
    served(binary, made)
    [example] = made.contract.examples
    np.testing.assert_allclose(example.forecast, [[[4.0]], [[5.0]], [[6.0]]], rtol=1e-7)
    assert made.contract.scales.tolist() == [2.0, 1.0, 10.0]
    assert made.digest == hashlib.sha256((tmp_path / "m.onnx").read_bytes()).hexdigest()


def test_the_same_arguments_write_the_same_bytes(tmp_path: Path) -> None:
    made = [foretell.package(last_value(), tmp_path / name, **arguments()) for name in ("a.onnx", "b.onnx")]
    assert made[0].digest == made[1].digest


def test_an_onnx_file_is_packaged_and_stays_as_it_is(binary: Path, tmp_path: Path) -> None:
    source = tmp_path / "source.onnx"
    onnx.save(last_value(), source)
    before = source.read_bytes()
    served(binary, foretell.package(source, tmp_path / "m.onnx", **arguments()))
    served(binary, foretell.package(str(source), str(tmp_path / "n.onnx"), **arguments()))
    assert source.read_bytes() == before


def test_a_package_can_be_packaged_anew(binary: Path, tmp_path: Path) -> None:
    first = foretell.package(last_value(), tmp_path / "m.onnx", **arguments())
    second = foretell.package(first.path, first.path, **arguments(version="2", imputed_max=3))
    served(binary, second)
    assert (second.contract.version, second.contract.imputed_max) == ("2", 3)
    assert len(onnx.load(second.path).metadata_props) == 1


def test_numpy_numbers_and_times_of_all_kinds_are_taken(binary: Path, tmp_path: Path) -> None:
    changes = {
        "step": datetime.timedelta(minutes=2),
        "window": np.int64(2),
        "horizon": np.int32(1),
        "features": np.array(["a", "b", "c"]),
        "targets": ("a", "b", "c"),
        "scaler": (np.float32([1, -1, 0]), np.array([2, 0, 10])),
        "imputed_max": np.uint8(4),
    }
    utc = datetime.timezone.utc
    pairs: list[Any] = [
        np.array(["1970-01-01T00:02", "1970-01-01T00:04"], "datetime64[s]"),
        [datetime.datetime(1970, 1, 1, 0, minute, tzinfo=utc) for minute in (2, 4)],
        np.array([120_000, 240_000]),
    ]
    examples = [(times, np.float32([[1, 2, 3], [4, 5, 6]])) for times in pairs]
    made = foretell.package(last_value(), tmp_path / "m.onnx", **arguments(examples=examples, **changes))
    served(binary, made)
    assert [example.origin_ms for example in made.contract.examples] == [240_000] * 3
    assert made.contract.step_ms == 120_000


def test_pandas_times_are_taken(binary: Path, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    index = pd.date_range("1970-01-01T01:02", periods=2, freq="2min", tz="Europe/Madrid")
    examples = [(index, [[1, 2, 3], [4, 5, 6]]), (index.tz_convert("UTC").tz_localize(None), [[1, 2, 3], [4, 5, 6]])]
    made = foretell.package(last_value(), tmp_path / "m.onnx", **arguments(examples=examples))
    served(binary, made)
    assert [example.origin_ms for example in made.contract.examples] == [240_000] * 2


def test_quantiles_calendar_and_targets_in_another_order(binary: Path, tmp_path: Path) -> None:
    def slot(source: str, into: str) -> onnx.NodeProto:
        return helper.make_node("Gather", [source, "columns"], [into], axis=2)

    graph = model(
        last_slot("x", "last"),
        slot("last", "mean"),
        helper.make_node("Sub", ["mean", "spread"], ["low"]),
        helper.make_node("Add", ["mean", "spread"], ["high"]),
        inputs={"x": ["n", 2, 9]},
        outputs={name: ["n", 1, 2] for name in ("mean", "low", "high")},
        constants=LAST_SLOT | {"columns": np.array([2, 8]), "spread": np.float32(0.5)},
    )
    calendar = ["day_of_year", "minute_of_day", "day_of_week"]
    made = foretell.package(
        graph, tmp_path / "m.onnx", **arguments(targets=["c", "a"], quantiles=[0.1, 0.9], calendar=calendar)
    )
    served(binary, made)
    # The second target is the cosine of a Thursday, as if it were a scaled value of a.
    cosine = float(np.float32(np.cos(2 * np.pi * 3 / 7)))
    expected = [[[6.0], [1.0], [11.0]], [[cosine * 2 + 1], [cosine * 2], [cosine * 2 + 2]]]
    np.testing.assert_allclose(made.contract.examples[0].forecast, expected, rtol=1e-6)


def test_a_recursive_model_is_fed_its_outputs(binary: Path, tmp_path: Path) -> None:
    graph = model(
        last_slot("x", "last"),
        helper.make_node("Gather", ["last", "columns"], ["first"], axis=2),
        helper.make_node("Add", ["first", "one"], ["mean"]),
        outputs={"mean": ["n", 1, 1]},
        constants=LAST_SLOT | {"columns": np.array([0]), "one": np.float32(1)},
    )
    made = foretell.package(graph, tmp_path / "m.onnx", **arguments(targets=["a"], horizon=3, strategy="recursive"))
    served(binary, made)
    assert made.contract.examples[0].forecast.tolist() == [[[6.0, 8.0, 10.0]]]


def test_a_batch_of_one_is_served_and_warned_of(binary: Path, tmp_path: Path) -> None:
    graph = last_value(inputs={"x": [1, 2, 3]}, outputs={"mean": [1, 1, 3]})
    with pytest.warns(UserWarning, match="one row at a time"):
        served(binary, foretell.package(graph, tmp_path / "m.onnx", **arguments()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        foretell.package(last_value(), tmp_path / "m.onnx", **arguments())


def sampling() -> onnx.ModelProto:
    noise = helper.make_node("RandomNormalLike", ["last"], ["noise"], seed=1.0)
    return model(
        last_slot("x", "last"), noise, helper.make_node("Add", ["last", "noise"], ["mean"]), constants=LAST_SLOT
    )


def fused() -> onnx.ModelProto:
    node = helper.make_node("Gelu", ["last"], ["mean"], domain="com.microsoft")
    return model(last_slot("x", "last"), node, constants=LAST_SLOT, domains=("com.microsoft",))


CASES: dict[str, tuple[dict[str, Any], str]] = {
    "scaler too narrow": (
        {"scaler": ([1.0], [1.0])},
        "scaler's centers has 1 columns, features has 3 (a, b, c): give one number per feature",
    ),
    "scales too wide": (
        {"scaler": ([1.0] * 3, [1.0] * 4)},
        "scaler's scales has 4 columns, features has 3 (a, b, c): give one number per feature",
    ),
    "scaler of three": (
        {"scaler": (1, 2, 3)},
        "scaler is a sequence of 3; it must be (centers, scales), a list each",
    ),
    "scaler of another kind": (
        {"scaler": 3},
        "scaler is a int; it must be one of StandardScaler, MinMaxScaler, RobustScaler, MaxAbsScaler, "
        "or (centers, scales)",
    ),
    "center not finite": (
        {"scaler": ([1.0, float("nan"), 0.0], [1.0] * 3)},
        'contract key "features[1].center" is NaN; it must be a finite number',
    ),
    "scale negative": (
        {"scaler": ([1.0] * 3, [1.0, -2.0, 1.0])},
        'contract key "features[1].scale" is -2.0; it must be zero, which means 1, or above',
    ),
    "target not among the features": (
        {"targets": ["d"]},
        'contract key "targets[0]" is "d"; it must be the name of a feature, each at most once',
    ),
    "no targets": ({"targets": []}, 'contract key "targets" is []; it must be a list of 1 to 3, not of 0'),
    "targets as text": ({"targets": "a"}, 'contract key "targets" is "a"; it must be a list of 1 to 3'),
    "features as text": ({"features": "abc"}, "features is 'abc'; it must be a list of names"),
    "window a float": (
        {"window": 2.0},
        'contract key "window" is 2.0; it must be a whole number from 1 to 4096',
    ),
    "step zero": (
        {"step": datetime.timedelta()},
        'contract key "step_seconds" is 0; it must be a whole number of milliseconds, given in seconds, '
        "from 0.001 to 31622400",
    ),
    "calendar unknown": (
        {"calendar": ["hour"]},
        'contract key "calendar[0]" is "hour"; it must be one of minute_of_day, day_of_week, day_of_year, '
        "each at most once",
    ),
    "strategy unknown": (
        {"strategy": "both"},
        'contract key "strategy" is "both"; it must be direct or recursive',
    ),
    "no examples": ({"examples": []}, 'contract key "examples" is []; it must be a list of 1 to 64, not of 0'),
    "example no pair": ({"examples": [[1, 2, 3]]}, "examples[0] is not a pair of times and values"),
    "example with a gap": (
        {"examples": [([120_000, 240_000], [[1, 2, 3], [4, float("nan"), 6]])]},
        'contract key "examples[0].values[1][1]" is NaN; it must be a finite number: '
        "choose a window in which nothing is missing",
    ),
    "example off the step": (
        {"examples": [([120_000, 250_000], [[1, 2, 3], [4, 5, 6]])]},
        'contract key "examples[0].times[1]" is 250000; it must be 240000, one step after the time before it',
    ),
    "example too short": (
        {"examples": [([120_000, 240_000], [[1, 2, 3]])]},
        'contract key "examples[0].values" is [[1.0,2.0,3.0]]; it must be a list of 2, not of 1',
    ),
    "wider than the graph": (
        {"calendar": ["day_of_week"]},
        'the graph\'s input "x" is Tensor<f32>(n, 2, 3); it must be a float32 tensor [n, window 2, inputs 5 '
        "(features + 2 x calendar)]",
    ),
    "quantiles without outputs": (
        {"quantiles": [0.5]},
        "the graph has 1 outputs; the contract wants 2: the means, then one per quantile",
    ),
    "too few targets for the graph": (
        {"targets": ["a"]},
        'the graph\'s output "mean" is Tensor<f32>(n, 1, 3); it must be a float32 tensor [n, horizon 1, targets 1]',
    ),
    "digits that float64 lacks": (
        {"scaler": ([1e18, 0, 0], [0.001, 1, 1]), "examples": [([0, 120_000], [[1e18, 2, 3], [1e18, 5, 6]])]},
        'feature "a" has a center of 1e+18 and a scale of 0.001, which leave too few of the digits of float64: '
        "subtract an offset from the feature before it is published, or give it a larger scale",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_arguments_that_make_no_package(case: str, tmp_path: Path) -> None:
    changes, reason = CASES[case]
    assert refused(tmp_path, **changes) == reason


def test_a_graph_of_changing_window_is_refused(tmp_path: Path) -> None:
    for shape in (["n", "window", 3], ["n", 2, None]):
        reason = refused(tmp_path, last_value(inputs={"x": shape}))
        assert "of changing window or width; export it as [n, 2, 3]" in reason


def test_a_graph_that_samples_is_refused(tmp_path: Path) -> None:
    assert "uses RandomNormalLike" in refused(tmp_path, sampling())


def test_operators_of_other_domains_are_refused(tmp_path: Path) -> None:
    assert 'uses an operator of the domain "com.microsoft"' in refused(tmp_path, fused())


def test_a_model_that_is_none_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, 3).startswith("the model is a int; it must be a PyTorch module")
    assert refused(tmp_path, tmp_path / "nowhere.onnx").startswith("cannot read the model")


def test_a_model_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    graph = model(last_slot("x", "last"), helper.make_node("Log", ["last"], ["mean"]), constants=LAST_SLOT)
    changes = {"scaler": ([100.0] * 3, [1.0] * 3)}
    assert refused(tmp_path, graph, **changes) == (
        "example 0 gave no forecast: the model gave NaN or an infinite value for this window"
    )


def test_the_source_is_named_for_its_own_faults(tmp_path: Path) -> None:
    source = tmp_path / "source.onnx"
    cast = helper.make_node("Cast", ["last"], ["mean"], to=TensorProto.FLOAT)
    onnx.save(model(last_slot("x", "last"), cast, constants=LAST_SLOT, kind=TensorProto.INT64), source)
    with pytest.raises(foretell.PackageError) as error:
        foretell.package(source, tmp_path / "m.onnx", **arguments())
    assert str(error.value).startswith(f'{source}: the graph\'s input "x" is Tensor<i64>(n, 2, 3)')


def test_a_package_that_is_there_stays_when_a_new_one_is_refused(tmp_path: Path) -> None:
    made = foretell.package(last_value(), tmp_path / "m.onnx", **arguments())
    with pytest.raises(foretell.PackageError):
        foretell.package(last_value(), made.path, **arguments(window=3))
    assert foretell.load(made.path).digest == made.digest
    assert json.loads(onnx.load(made.path).metadata_props[0].value)["window"] == 2
