"""What the worker refuses, Python refuses in the same words: files put before both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import foretell
from conftest import (
    LAST_SLOT,
    REPOSITORY,
    check,
    contract,
    last_slot,
    last_value,
    model,
    with_contract,
)

BROKEN = sorted((REPOSITORY / "tests" / "models" / "broken").glob("*.onnx"))


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in contract().items() if name != key}


def example(**changes: Any) -> dict[str, Any]:
    return contract(examples=[contract()["examples"][0] | changes])


def feature(**changes: Any) -> dict[str, Any]:
    features = contract()["features"]
    return contract(features=[features[0] | changes, *features[1:]])


def raw(key: str, text: str) -> str:
    """The contract with JSON text as a value that Python's json would not write."""
    return json.dumps(contract(**{key: "@"})).replace('"@"', text)


UNASKED = {"a": {"mean": [4], "quantiles": [[4]]}}
MANY = [{"name": f"f{n}", "center": 0, "scale": 1} for n in range(20)]

CONTRACTS: dict[str, dict[str, Any] | str] = {
    **{f"without {key}": without(key) for key in contract()},
    "unknown key": contract(extra=1, another=2),
    "unknown key of a feature": feature(mean=1),
    "no object": "[1]",
    "format": contract(format=2),
    "format as text": contract(format="1"),
    "empty name": contract(name=""),
    "long name": contract(name="ä" * 129),
    "control character": contract(version="a\nb"),
    "control character of the second block": contract(version="a\u0085b"),
    "name is a number": contract(name=7),
    "step zero": contract(step_seconds=0),
    "step negative": contract(step_seconds=-120),
    "step below a millisecond": contract(step_seconds=0.0005),
    "step no whole millisecond": contract(step_seconds=1.00001),
    "step beyond a year": contract(step_seconds=31_622_400.001),
    "step huge": contract(step_seconds=1e300),
    "step as text": contract(step_seconds="120"),
    "window zero": contract(window=0),
    "window a fraction": contract(window=2.5),
    "window a float": contract(window=2.0),
    "window too long": contract(window=4097),
    "window true": contract(window=True),
    "window null": contract(window=None),
    "window minus zero": raw("window", "-0"),
    "window beyond 64 bits": raw("window", "18446744073709551616"),
    "window of many digits": raw("window", "123456789012345678901234567890"),
    "horizon negative": contract(horizon=-1),
    "horizon too long": contract(horizon=4097),
    "no features": contract(features=[]),
    "features no list": contract(features={"a": 1}),
    "feature twice": feature(name="b"),
    "scale negative": feature(scale=-1),
    "scale null": feature(scale=None),
    "center as text": feature(center="1"),
    "center true": feature(center=True),
    "calendar unknown": contract(calendar=["hour"]),
    "calendar twice": contract(calendar=["day_of_week", "day_of_week"]),
    "calendar too long": contract(calendar=["day_of_week"] * 4),
    "target unknown": contract(targets=["d"]),
    "target twice": contract(targets=["a", "a"]),
    "no target": contract(targets=[]),
    "too many targets": contract(targets=["a", "b", "c", "a"]),
    "quantile zero": contract(quantiles=[0.0]),
    "quantile one": contract(quantiles=[1]),
    "quantile as a small number": contract(quantiles=[0.00001, 0.00001]),
    "quantile as a smaller number": contract(quantiles=[1.25e-7, 0.0]),
    "quantiles fall": contract(quantiles=[0.5, 0.25]),
    "too many quantiles": contract(quantiles=[n / 100 for n in range(1, 34)]),
    "strategy unknown": contract(strategy="magic"),
    "recursive with quantiles": contract(strategy="recursive", quantiles=[0.5]),
    "imputed_max negative": contract(imputed_max=-1),
    "imputed_max too large": contract(imputed_max=2**32),
    "no examples": contract(examples=[]),
    "too many examples": contract(examples=contract()["examples"] * 65),
    "times too few": example(times=[120_000]),
    "times not a step apart": example(times=[120_000, 240_001]),
    "times no whole numbers": example(times=[0.5, 1]),
    "times too far": example(times=[1 << 60, 1]),
    "values too few": example(values=[[1, 2, 3]]),
    "values too narrow": example(values=[[1, 2, 3], [4, 5]]),
    "value null": example(values=[[1, 2, 3], [4, 5, None]]),
    "forecast of no target": example(forecast={"d": {}}),
    "forecast without a target": example(forecast={"a": {"mean": [4]}}),
    "mean too long": example(forecast=example()["examples"][0]["forecast"] | {"a": {"mean": [4, 4]}}),
    "quantiles missing": contract(quantiles=[0.5]),
    "quantiles not asked for": example(forecast=example()["examples"][0]["forecast"] | UNASKED),
    "too many inputs": contract(window=4096, features=MANY, targets=["f0"]),
    "too many outputs": contract(horizon=4096, quantiles=[n / 20 for n in range(1, 17)]),
    "long value": contract(window="x" * 100),
    "value to escape": contract(window='a"b\\c\n\u0001é\u007f'),
    "value with sorted keys": contract(window={"b": [1, 2.5], "a": {}}),
    "large float": contract(window=1e16),
    "largest float": contract(window=1.7976931348623157e308),
    "float of sixteen digits": contract(window=1234567890123456.0),
    "small float": contract(window=0.000015),
    "smaller float": contract(window=-1.5e-6),
    "minus zero": contract(window=-0.0),
    "wrong example": example(forecast={"a": {"mean": [4]}, "b": {"mean": [5]}, "c": {"mean": [6.5]}}),
    "wrong by orders": example(forecast={"a": {"mean": [4e30]}, "b": {"mean": [5]}, "c": {"mean": [6]}}),
    "example beyond float32": example(values=[[1, 2, 3], [4e300, 5, 6]]),
    "wrong window": contract(window=1, examples=[example()["examples"][0] | {"times": [0], "values": [[1, 2, 3]]}]),
    "wrong width": contract(calendar=["day_of_year"]),
    "wrong targets": contract(targets=["a"], examples=[example()["examples"][0] | {"forecast": {"a": {"mean": [4]}}}]),
}  # fmt: skip

# The sentence begins alike; what the parser itself says differs.
NOT_JSON = {
    "empty": "",
    "cut off": "{",
    "NaN": raw("window", "NaN"),
    "number out of range": raw("window", "1e400"),
    "integer out of range": raw("window", "1" + "0" * 400),
    "half of a surrogate pair": raw("name", '"\\ud800"'),
    "leading zero": raw("window", "02"),
    "too deep": raw("window", "[" * 127 + "]" * 127),
    "far too deep": raw("window", "[" * 100_000 + "]" * 100_000),
    "byte order mark": "\ufeff" + json.dumps(contract()),
    "something after it": json.dumps(contract()) + "x",
}


def bodies(depth: int) -> onnx.ModelProto:
    """If within If, ``depth`` deep."""
    inner = helper.make_node("Identity", ["last"], ["b0"])
    for level in range(1, depth + 1):
        value = helper.make_tensor_value_info(f"b{level - 1}", TensorProto.FLOAT, None)
        graphs = {
            name: helper.make_graph([inner], f"{name}{level}", [], [value]) for name in ("then_branch", "else_branch")
        }
        inner = helper.make_node("If", ["yes"], ["mean" if level == depth else f"b{level}"], **graphs)
    return model(last_slot("x", "last"), inner, constants=LAST_SLOT | {"yes": np.array(True)})  # fmt: skip


def external() -> onnx.ModelProto:
    graph = last_value()
    onnx.external_data_helper.set_external_data(graph.graph.initializer[0], "elsewhere")
    graph.graph.initializer[0].ClearField("raw_data")
    return graph


def sequence() -> onnx.ModelProto:
    graph = last_value()
    graph.graph.output[0].CopyFrom(helper.make_tensor_sequence_value_info("mean", TensorProto.FLOAT, None))
    return graph


def integer_input() -> onnx.ModelProto:
    cast = helper.make_node("Cast", ["last"], ["mean"], to=TensorProto.FLOAT)
    return model(last_slot("x", "last"), cast, constants=LAST_SLOT, kind=TensorProto.INT64)


def wrong_shape_at_run() -> onnx.ModelProto:
    """Declares nothing of its output, and gives two steps in place of one."""
    return model(helper.make_node("Identity", ["x"], ["mean"]), outputs={"mean": None})


def fails_at_run() -> onnx.ModelProto:
    reshape = helper.make_node("Reshape", ["x", "shape"], ["mean"])
    constants = {"shape": np.array([-1, 4, 3])}
    return model(reshape, outputs={"mean": None}, constants=constants)


def logarithm() -> onnx.ModelProto:
    """NaN for b, whose scaled value is below zero when it is made so."""
    minus = helper.make_node("Neg", ["last"], ["minus"])
    return model(last_slot("x", "last"), minus, helper.make_node("Log", ["minus"], ["mean"]), constants=LAST_SLOT)


def future() -> onnx.ModelProto:
    graph = last_value()
    graph.ir_version = 99
    return graph


def function_of_another_domain() -> onnx.ModelProto:
    """Its own function is allowed; what that calls is not."""
    graph = model(helper.make_node("Own", ["x"], ["mean"], domain="own"), domains=("own",))
    inner = helper.make_node("Gelu", ["a"], ["b"], domain='com."quoted"')
    graph.functions.append(helper.make_function("own", "Own", ["a"], ["b"], [inner], graph.opset_import))
    return graph


GRAPHS = {
    "two inputs": lambda: model(last_slot(), constants=LAST_SLOT, inputs={"x": ["n", 2, 3], "y": ["n", 2, 3]}),
    "no input": lambda: model(
        helper.make_node("Identity", ["constant"], ["mean"]),
        inputs={},
        constants={"constant": np.zeros((1, 1, 3), np.float32)},
        outputs={"mean": [1, 1, 3]},
    ),
    "two outputs": lambda: model(
        last_slot(),
        last_slot("x", "more"),
        constants=LAST_SLOT,
        outputs={"mean": ["n", 1, 3], "more": ["n", 1, 3]},
    ),
    "integer input": integer_input,
    "rank two": lambda: model(
        helper.make_node("Reshape", ["x", "shape"], ["mean"]),
        inputs={"x": ["n", 3]},
        constants={"shape": np.array([-1, 1, 3])},
    ),
    "window of another length": lambda: last_value(inputs={"x": ["n", 5, 3]}),
    "fixed batch": lambda: last_value(inputs={"x": [4, 2, 3]}, outputs={"mean": [4, 1, 3]}),
    "nameless dimension": lambda: last_value(inputs={"x": [None, 7, 3]}),
    "horizon of the graph": lambda: model(helper.make_node("Identity", ["x"], ["mean"]), outputs={"mean": ["n", 2, 3]}),
    "external data": external,
    "sequence": sequence,
    "nested too deep": lambda: bodies(9),
    "wrong shape at run": wrong_shape_at_run,
    "fails at run": fails_at_run,
    "not finite": logarithm,
    "unknown operator": lambda: model(helper.make_node("Nothing", ["x"], ["mean"], domain="my"), domains=("my",)),
    "operator of another domain in a function": function_of_another_domain,
    "unknown input of a node": lambda: model(helper.make_node("Identity", ["z"], ["mean"])),
    "newer than the runtime": future,
}

FILES = {
    "empty": b"",
    "text": b"not a model",
    "cut off": with_contract(last_value(), contract())[:-40],
    "zeros": bytes(10),
    "no graph": helper.make_model(helper.make_graph([], "g", [], [])).SerializeToString()[:4],
    "no contract": last_value().SerializeToString(),
    "contract not text": with_contract(last_value(), contract()).replace(b'"version"', b'"ver\xff\xfeon"'),
    "group of protobuf": last_value().SerializeToString() + b"\x0b\x0c",
    "long varint": b"\x08" + b"\xff" * 11,
}


def both(binary: Path, file: Path, data: bytes) -> tuple[str, str]:
    """Why the worker and why Python refuse a file."""
    file.write_bytes(data)
    verdict = check(binary, file)
    assert verdict.reason is not None, "the worker serves it"
    with pytest.raises(foretell.PackageError) as refused:
        foretell.load(file)
    assert refused.value.file == str(file)
    return verdict.reason, refused.value.reason.strip()


@pytest.mark.parametrize("case", CONTRACTS)
def test_a_contract_that_breaks_a_rule(case: str, binary: Path, tmp_path: Path) -> None:
    if case == "without calendar" or case == "without quantiles":
        file = tmp_path / "m.onnx"
        file.write_bytes(with_contract(last_value(), CONTRACTS[case]))
        assert check(binary, file).reason is None
        assert foretell.load(file).contract.calendar == ()
        return
    theirs, ours = both(binary, tmp_path / "m.onnx", with_contract(last_value(), CONTRACTS[case]))
    assert ours == theirs


@pytest.mark.parametrize("case", NOT_JSON)
def test_a_contract_that_is_no_json(case: str, binary: Path, tmp_path: Path) -> None:
    theirs, ours = both(binary, tmp_path / "m.onnx", with_contract(last_value(), NOT_JSON[case]))
    assert theirs.startswith("the contract is not JSON: ") and ours.startswith("the contract is not JSON: ")


@pytest.mark.parametrize("case", GRAPHS)
def test_a_graph_that_is_not_the_contracts(case: str, binary: Path, tmp_path: Path) -> None:
    theirs, ours = both(binary, tmp_path / "m.onnx", with_contract(GRAPHS[case](), contract()))
    assert ours == theirs


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_no_package(case: str, binary: Path, tmp_path: Path) -> None:
    theirs, ours = both(binary, tmp_path / "m.onnx", FILES[case])
    assert ours == theirs


@pytest.mark.parametrize("file", BROKEN, ids=lambda file: file.stem)
def test_the_broken_packages_of_the_workers_own_tests(file: Path, binary: Path, tmp_path: Path) -> None:
    theirs, ours = both(binary, tmp_path / "m.onnx", file.read_bytes())
    assert ours == theirs


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(foretell.PackageError, match=r"nowhere\.onnx: cannot read the model package"):
        foretell.load(tmp_path / "nowhere.onnx")


def test_a_contract_that_is_too_long(binary: Path, tmp_path: Path) -> None:
    theirs, ours = both(binary, tmp_path / "m.onnx", with_contract(last_value(), contract(name="x" * (16 << 20))))
    assert ours == theirs
    assert "keep fewer examples" in ours


def test_nested_graphs_are_read_as_deep_as_the_worker_reads_them(binary: Path, tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(with_contract(bodies(8), contract()))
    assert check(binary, file).reason is None
    foretell.load(file)


def test_the_last_of_several_contracts_counts(binary: Path, tmp_path: Path) -> None:
    graph = last_value()
    graph.metadata_props.add(key="foretell.contract", value="{}")
    graph.metadata_props.add(key="foretell.contract", value=json.dumps(contract()))
    file = tmp_path / "m.onnx"
    file.write_bytes(graph.SerializeToString())
    assert check(binary, file).reason is None
    assert foretell.load(file).contract.name == "m"


def test_functions_of_the_file_itself_are_run(binary: Path, tmp_path: Path) -> None:
    graph = last_value()
    graph.graph.node[0].op_type, graph.graph.node[0].domain = "Own", "own"
    graph.opset_import.append(helper.make_opsetid("own", 1))
    names = ["a", "b", "c", "d"]
    slice_ = helper.make_node("Slice", names, ["e"])
    graph.functions.append(helper.make_function("own", "Own", names, ["e"], [slice_], graph.opset_import[:1]))
    file = tmp_path / "m.onnx"
    file.write_bytes(with_contract(graph, contract()))
    assert check(binary, file).reason is None
    foretell.load(file)


def test_initializers_are_not_inputs(binary: Path, tmp_path: Path) -> None:
    graph = last_value()
    for tensor in graph.graph.initializer:
        array = numpy_helper.to_array(tensor)
        graph.graph.input.append(helper.make_tensor_value_info(tensor.name, TensorProto.INT64, list(array.shape)))
    file = tmp_path / "m.onnx"
    file.write_bytes(with_contract(graph, contract()))
    assert check(binary, file).reason is None
    foretell.load(file)
