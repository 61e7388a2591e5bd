"""Makes the model packages of the inference tests and benches, sound ones and broken ones.

    pip install -r tests/oracle/requirements.txt
    python3 tests/models/make.py

Weights are random with a fixed seed; the same versions write the same bytes. The expected forecasts
in the contracts come from tests/oracle/forecast.py.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, checker, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "oracle"))
import forecast as oracle  # noqa: E402

STEP_SECONDS = 120
ORIGIN_MS = 1_546_300_800_000  # 2019-01-01T00:00Z: the window before it lies in the year before
FEATURES = [("down", 1.5e8, 1.2e8), ("up", 7.0e6, 1.5e7), ("rnti_count", 6.8e3, 3.0e3)]


class Graph:
    """Nodes and weights of a graph, in the order of their making."""

    def __init__(self, name, seed):
        self.name = name
        self.nodes = []
        self.weights = []
        self.random = np.random.default_rng(seed)

    def constant(self, value, dtype=np.float32):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def weight(self, *shape):
        """Normal, scaled so that sums keep their size."""
        return self.constant(self.random.standard_normal(shape) / np.sqrt(shape[-1]))

    def node(self, kind, inputs, **attributes):
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def last_slot(self, window):
        """[n, window, width] -> [n, 1, width]."""
        ends = [self.constant([value], np.int64) for value in (window - 1, window, 1)]
        return self.node("Slice", ["x", *ends])

    def reshaped(self, value, *shape):
        return self.node("Reshape", [value, self.constant(shape, np.int64)])

    def gru(self, width, hidden):
        """[n, window, width] -> the last hidden state, [n, hidden]. As PyTorch exports a GRU."""
        time_first = self.node("Transpose", ["x"], perm=[1, 0, 2])
        weights = [self.weight(1, 3 * hidden, width), self.weight(1, 3 * hidden, hidden), self.weight(1, 6 * hidden)]
        states, state = f"gru{len(self.nodes)}", f"state{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(
                "GRU", [time_first, *weights], [states, state], hidden_size=hidden, linear_before_reset=1
            )
        )
        return self.reshaped(state, -1, hidden)

    def dense(self, value, inputs, outputs):
        return self.node("Gemm", [value, self.weight(inputs, outputs), self.weight(outputs)])

    def model(self, outputs, window, width, rows="n", kind=TensorProto.FLOAT):
        """A model of the input x and the outputs {name: shape after the batch}."""
        input_shape = [rows, window, width] if window else [rows, width]
        ports = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, *shape]) for name, shape in outputs.items()
        ]
        graph = helper.make_graph(
            self.nodes, self.name, [helper.make_tensor_value_info("x", kind, input_shape)], ports, self.weights
        )
        model = helper.make_model(
            graph, producer_name="foretell-tests", ir_version=10, opset_imports=[helper.make_opsetid("", 17)]
        )
        checker.check_model(model)
        return model


def contract(name, window, horizon, targets, **more):
    base = {
        "format": 1,
        "name": name,
        "version": "1",
        "step_seconds": STEP_SECONDS,
        "window": window,
        "horizon": horizon,
        "features": [{"name": feature, "center": center, "scale": scale} for feature, center, scale in FEATURES],
        "calendar": [],
        "targets": targets,
        "quantiles": [],
        "strategy": "direct",
    }
    return {**base, **more}


def window_values(contract_, seed):
    random = np.random.default_rng(seed)
    centers, scales = oracle.scaling(contract_)
    shape = (contract_["window"], len(centers))
    return np.round(np.abs(centers + scales * random.standard_normal(shape)), 3)


def write(path, model, contract_, examples=2):
    """Writes a package; its examples are what the oracle makes of the model."""
    path = HERE / path
    path.parent.mkdir(exist_ok=True)
    if contract_ is not None:
        contract_ = {**contract_, "examples": [example(path, model, contract_, seed) for seed in range(examples)]}
        set_contract(model, json.dumps(contract_, allow_nan=False))
    path.write_bytes(model.SerializeToString(deterministic=True))
    return contract_


def set_contract(model, text):
    helper.set_model_props(model, {"foretell.contract": text})


def example(path, model, contract_, seed):
    path.write_bytes(model.SerializeToString(deterministic=True))
    values = window_values(contract_, seed)
    origin = ORIGIN_MS + seed * 7_777 * STEP_SECONDS * 1000
    result = oracle.forecast(contract_, oracle.load_session(path), values[None], [origin])
    times = [origin - (contract_["window"] - 1 - slot) * STEP_SECONDS * 1000 for slot in range(contract_["window"])]
    expected = {}
    for target in contract_["targets"]:
        expected[target] = {"mean": result[target]["mean"][0].tolist()}
        if contract_["quantiles"]:
            expected[target]["quantiles"] = [level[0].tolist() for level in result[target]["quantiles"]]
    return {"times": times, "values": values.tolist(), "forecast": expected}


def gru_quantiles():
    """A GRU with every calendar feature, quantiles, and targets in another order than the features."""
    window, horizon, targets, levels = 24, 6, ["rnti_count", "down"], [0.1, 0.5, 0.9]
    graph = Graph("gru_quantiles", 1)
    state = graph.gru(9, 8)
    names = ["mean", "low", "median", "high"]
    for name in names:
        dense = graph.dense(state, 8, horizon * len(targets))
        graph.nodes.append(
            helper.make_node("Reshape", [dense, graph.constant([-1, horizon, len(targets)], np.int64)], [name])
        )
    model = graph.model({name: [horizon, len(targets)] for name in names}, window, 9)
    calendar = ["minute_of_day", "day_of_week", "day_of_year"]
    write(
        "gru_quantiles.onnx",
        model,
        contract("gru-quantiles", window, horizon, targets, calendar=calendar, quantiles=levels, imputed_max=4),
    )


def linear_recursive():
    """One linear step of two targets, run on its own outputs."""
    window, targets = 8, ["up", "down"]
    graph = Graph("linear_recursive", 2)
    flat = graph.reshaped("x", -1, window * 5)
    graph.reshaped(graph.dense(flat, window * 5, 2), -1, 1, 2)
    model = graph.model({graph.nodes[-1].output[0]: [1, 2]}, window, 5)
    write(
        "linear_recursive.onnx",
        model,
        contract("linear-recursive", window, 10, targets, calendar=["minute_of_day"], strategy="recursive"),
    )


def gru64():
    """The GRU of the benches: 64 units, 64 slots, about 40 us a row."""
    graph = Graph("gru64", 3)
    graph.reshaped(graph.dense(graph.gru(3, 64), 64, 36), -1, 12, 3)
    model = graph.model({graph.nodes[-1].output[0]: [12, 3]}, 64, 3)
    write("gru64.onnx", model, contract("gru64", 64, 12, [name for name, _, _ in FEATURES]))


def mlp():
    """The MLP of the benches, about 3 us a row. Its hidden layers share weights: a small file."""
    graph = Graph("mlp", 4)
    hidden = graph.reshaped("x", -1, 192)
    weights = [graph.weight(192, 192), graph.weight(192)]
    for _ in range(3):
        hidden = graph.node("Relu", [graph.node("Gemm", [hidden, *weights])])
    graph.reshaped(graph.dense(hidden, 192, 36), -1, 12, 3)
    model = graph.model({graph.nodes[-1].output[0]: [12, 3]}, 64, 3)
    write("mlp.onnx", model, contract("mlp", 64, 12, [name for name, _, _ in FEATURES]))


def not_finite():
    """The logarithm of the last scaled value: NaN below the center, infinite at it."""
    graph = Graph("not_finite", 5)
    graph.nodes.append(helper.make_node("Log", [graph.last_slot(2)], ["mean"]))
    model = graph.model({"mean": [1, 3]}, 2, 3)
    base = contract("not-finite", 2, 1, [name for name, _, _ in FEATURES])
    # Examples must be finite: everything lies above its center.
    base["features"] = [{"name": name, "center": 0.0, "scale": scale} for name, _, scale in FEATURES]
    write("not_finite.onnx", model, base)


def fails_on_some():
    """Looks the last scaled value up in a table of four: a run fails if any row's is beyond it."""
    graph = Graph("fails_on_some", 6)
    index = graph.node("Cast", [graph.last_slot(1)], to=TensorProto.INT64)
    graph.nodes.append(helper.make_node("Gather", [graph.constant([0.5, 1.5, 2.5, 3.5]), index], ["mean"]))
    model = graph.model({"mean": [1, 1]}, 1, 1)
    base = contract("fails-on-some", 1, 1, ["a"], features=[{"name": "a", "center": 0.0, "scale": 100.0}])
    write("fails_on_some.onnx", model, base)


def hangs_on_some():
    """The last value; while any row's lies a million scales above its center, a loop turns for ever."""
    graph = Graph("hangs_on_some", 12)
    last = graph.last_slot(2)
    turns = graph.node("Where", [is_marked(graph, last), graph.constant(2**62, np.int64), graph.constant(0, np.int64)])
    scalar = lambda name, kind: helper.make_tensor_value_info(name, kind, [])  # noqa: E731
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["goes_on"]),
            helper.make_node("Identity", ["before"], ["after"]),
        ],
        "turn",
        [
            scalar("turn_number", TensorProto.INT64),
            scalar("going", TensorProto.BOOL),
            scalar("before", TensorProto.FLOAT),
        ],
        [scalar("goes_on", TensorProto.BOOL), scalar("after", TensorProto.FLOAT)],
    )
    nothing = graph.node("Loop", [turns, "", graph.constant(0.0)], body=body)
    graph.nodes.append(helper.make_node("Add", [last, nothing], ["mean"]))
    model = graph.model({"mean": [1, 3]}, 2, 3)
    write("hangs_on_some.onnx", model, contract("hangs-on-some", 2, 1, [name for name, _, _ in FEATURES]))


def hangs_in_a_node(name, seed, boxes):
    """As hangs_on_some, in a single node, which cannot be stopped: so many boxes are compared with each other. Two
    hundred thousand take twenty seconds, two million half an hour."""
    graph = Graph(name, seed)
    last = graph.last_slot(2)
    count = graph.node(
        "Where", [is_marked(graph, last), graph.constant(boxes, np.int64), graph.constant(1, np.int64)]
    )
    numbers = graph.node("Range", [graph.constant(0, np.int64), count, graph.constant(1, np.int64)])
    # Boxes side by side, none over another: all of them are kept and each is compared with all before it.
    left = graph.node("Mul", [graph.node("Cast", [numbers], to=TensorProto.FLOAT), graph.constant(2.0)])
    left = graph.reshaped(left, 1, -1, 1)
    zero = graph.node("Mul", [left, graph.constant(0.0)])
    one = graph.node("Add", [zero, graph.constant(1.0)])
    right = graph.node("Add", [left, graph.constant(1.0)])
    boxes = graph.node("Concat", [zero, left, one, right], axis=2)
    scores = graph.reshaped(one, 1, 1, -1)
    most = graph.reshaped(count, 1)
    kept = graph.node("NonMaxSuppression", [boxes, scores, most])
    nothing = graph.node("Mul", [graph.node("Cast", [kept], to=TensorProto.FLOAT), graph.constant(0.0)])
    nothing = graph.node("ReduceMax", [nothing], keepdims=0)
    graph.nodes.append(helper.make_node("Add", [last, nothing], ["mean"]))
    model = graph.model({"mean": [1, 3]}, 2, 3)
    features = [feature for feature, _, _ in FEATURES]
    write(f"{name}.onnx", model, contract(name.replace("_", "-"), 2, 1, features))


def wants_memory():
    """The last value, and 64 GB of zeros in between."""
    graph = Graph("wants_memory", 14)
    last = graph.last_slot(2)
    # How many is only known when it runs, so that loading it does not make them.
    nothing = graph.node("Mul", [graph.node("ReduceMax", [last], keepdims=0), graph.constant(0.0)])
    count = graph.node("Add", [graph.node("Cast", [nothing], to=TensorProto.INT64), graph.constant(2**34, np.int64)])
    zeros = graph.node("ConstantOfShape", [graph.reshaped(count, 1)])
    graph.nodes.append(helper.make_node("Add", [last, graph.node("ReduceMax", [zeros], keepdims=0)], ["mean"]))
    model = graph.model({"mean": [1, 3]}, 2, 3)
    base = contract("wants-memory", 2, 1, [name for name, _, _ in FEATURES])
    # No machine of ours would run it: the examples are those of the last value.
    sound = write("wants_memory.onnx", last_value()[0], base)
    set_contract(model, json.dumps(sound))
    (HERE / "wants_memory.onnx").write_bytes(model.SerializeToString(deterministic=True))


def is_marked(graph, last):
    return graph.node("Greater", [graph.node("ReduceMax", [last], keepdims=0), graph.constant(1e6)])


def batch_mean():
    """Adds a trace of the batch's mean to every row: its forecasts depend on their neighbours."""
    graph = Graph("batch_mean", 7)
    last = graph.last_slot(2)
    mean = graph.node("ReduceMean", [last], axes=[0], keepdims=1)
    trace = graph.node("Mul", [mean, graph.constant(1e-5)])
    graph.nodes.append(helper.make_node("Add", [last, trace], ["mean"]))
    model = graph.model({"mean": [1, 3]}, 2, 3)
    write("batch_mean.onnx", model, contract("batch-mean", 2, 1, [name for name, _, _ in FEATURES]))


def one_row():
    """The last value, exported with a fixed batch of one."""
    graph = Graph("one_row", 8)
    graph.nodes.append(helper.make_node("Identity", [graph.last_slot(2)], ["mean"]))
    model = graph.model({"mean": [1, 3]}, 2, 3, rows=1)
    write("one_row.onnx", model, contract("one-row", 2, 1, [name for name, _, _ in FEATURES]))


def last_value(seed=9):
    """A small sound model to break."""
    graph = Graph("last_value", seed)
    graph.nodes.append(helper.make_node("Identity", [graph.last_slot(2)], ["mean"]))
    return graph.model({"mean": [1, 3]}, 2, 3), contract("broken", 2, 1, [name for name, _, _ in FEATURES])


def broken():
    """One package per way to be refused."""
    model, _ = last_value()
    write("broken/no_contract.onnx", model, None)

    model, base = last_value()
    set_contract(model, json.dumps({**base, "window": "two"}))
    (HERE / "broken/bad_contract.onnx").write_bytes(model.SerializeToString(deterministic=True))

    model, base = last_value()
    sound = write("broken/wrong_horizon.onnx", model, base)
    wrong = {**sound, "horizon": 4}
    for case in wrong["examples"]:
        for target in case["forecast"].values():
            target["mean"] = target["mean"] * 4
    set_contract(model, json.dumps(wrong))
    (HERE / "broken/wrong_horizon.onnx").write_bytes(model.SerializeToString(deterministic=True))

    model, base = last_value()
    sound = write("broken/wrong_example.onnx", model, base)
    sound["examples"][1]["forecast"]["up"]["mean"][0] *= 1.01
    set_contract(model, json.dumps(sound))
    (HERE / "broken/wrong_example.onnx").write_bytes(model.SerializeToString(deterministic=True))

    model, base = last_value()
    sound = write("broken/missing_quantile.onnx", model, base)
    sound["quantiles"] = [0.5]
    for case in sound["examples"]:
        for target in case["forecast"].values():
            target["quantiles"] = [target["mean"]]
    set_contract(model, json.dumps(sound))
    (HERE / "broken/missing_quantile.onnx").write_bytes(model.SerializeToString(deterministic=True))

    text = json.dumps(sound | {"quantiles": [], "examples": strip_quantiles(sound["examples"])})
    graph = Graph("rank_two", 10)
    graph.reshaped("x", -1, 1, 3)
    model = graph.model({graph.nodes[-1].output[0]: [1, 3]}, None, 3)
    set_contract(model, text)
    (HERE / "broken/rank_two.onnx").write_bytes(model.SerializeToString(deterministic=True))

    graph = Graph("integer_input", 11)
    graph.nodes.append(helper.make_node("Cast", [graph.last_slot(2)], ["mean"], to=TensorProto.FLOAT))
    model = graph.model({"mean": [1, 3]}, 2, 3, kind=TensorProto.INT64)
    set_contract(model, text)
    (HERE / "broken/integer_input.onnx").write_bytes(model.SerializeToString(deterministic=True))

    model, _ = last_value()
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "/etc/hostname")
    model.graph.initializer[0].ClearField("raw_data")
    set_contract(model, text)
    (HERE / "broken/external_data.onnx").write_bytes(model.SerializeToString(deterministic=True))


def ruinous():
    """Packages that look sound until they run: their examples are those of the last value. What ends or stops whoever
    loads it is not among the broken ones, which tests load in their own process."""
    model, base = last_value()
    sound = write("broken/not_a_number.onnx", model, base)

    def put(name, model):
        set_contract(model, json.dumps(sound))
        (HERE / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))

    graph = Graph("not_a_number", 16)
    nothing = graph.node("Mul", [graph.last_slot(2), graph.constant(0.0)])
    graph.nodes.append(helper.make_node("Div", [nothing, nothing], ["mean"]))
    put("broken/not_a_number", graph.model({"mean": [1, 3]}, 2, 3))

    # The least integer divided by -1 has no result, and the processor ends whoever asks for it.
    graph = Graph("crashes", 17)
    number = graph.node("Cast", [graph.last_slot(2)], to=TensorProto.INT32)
    zero = graph.node("Mul", [number, graph.constant(0, np.int32)])
    least = graph.node("Add", [zero, graph.constant(-(2**31), np.int32)])
    none = graph.node("Div", [least, graph.node("Add", [zero, graph.constant(-1, np.int32)])])
    graph.nodes.append(helper.make_node("Cast", [none], ["mean"], to=TensorProto.FLOAT))
    put("crashes", graph.model({"mean": [1, 3]}, 2, 3))

    # With an example that it hangs on.
    sound["examples"][0]["values"][-1][0] = 1e15
    put("hangs", onnx.load(HERE / "hangs_in_a_node.onnx"))


def strip_quantiles(examples):
    return [
        {
            **case,
            "forecast": {name: {"mean": target["mean"]} for name, target in case["forecast"].items()},
        }
        for case in examples
    ]


if __name__ == "__main__":
    gru_quantiles()
    linear_recursive()
    gru64()
    mlp()
    not_finite()
    fails_on_some()
    hangs_on_some()
    hangs_in_a_node("hangs_in_a_node", 13, 2_000_000)
    hangs_in_a_node("hangs_for_a_while", 15, 200_000)
    wants_memory()
    batch_mean()
    one_row()
    broken()
    ruinous()
