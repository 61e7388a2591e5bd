"""Makes last_value.onnx: the forecast of every step is the last value of each target.

A model in closed form, so that anyone can see in the demo whether the worker feeds it rightly. It is
packaged as trained models are: the contract in the metadata, with a scaling that must be undone.

    pip install numpy onnx
    python3 demo/make_last_value.py

The same versions write the same bytes; tests/oracle/requirements.txt has them.
"""

import json
import pathlib

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

STEP_SECONDS, WINDOW, HORIZON = 120, 64, 12
# Traffic counters of a cell; center and scale are about the mean and deviation of the sample data.
FEATURES = [("down", 1.5e8, 1.2e8), ("up", 7.0e6, 1.5e7), ("rnti_count", 6.8e3, 3.0e3)]


def graph():
    """[n, window, features] -> the last slot of each row, repeated: [n, horizon, targets]."""
    count = len(FEATURES)
    constants = {
        "from": np.array([WINDOW - 1], np.int64),
        "to": np.array([WINDOW], np.int64),
        "slots": np.array([1], np.int64),
        "repeats": np.array([1, HORIZON, 1], np.int64),
    }
    return helper.make_graph(
        [
            helper.make_node("Slice", ["window", "from", "to", "slots"], ["last"]),
            helper.make_node("Tile", ["last", "repeats"], ["mean"]),
        ],
        "last_value",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["n", WINDOW, count])],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["n", HORIZON, count])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )


def example(start_ms, seed):
    """A window of plausible traffic and the forecast it must give."""
    random = np.random.default_rng(seed)
    times = [start_ms + slot * STEP_SECONDS * 1000 for slot in range(WINDOW)]
    columns = [center + scale * random.standard_normal(WINDOW) for _, center, scale in FEATURES]
    values = np.round(np.abs(np.stack(columns, axis=1)), 3)
    return {
        "times": times,
        "values": values.tolist(),
        "forecast": {
            name: {"mean": [float(values[-1, column])] * HORIZON} for column, (name, _, _) in enumerate(FEATURES)
        },
    }


def main():
    contract = {
        "format": 1,
        "name": "last-value",
        "version": "1",
        "step_seconds": STEP_SECONDS,
        "window": WINDOW,
        "horizon": HORIZON,
        "features": [{"name": name, "center": center, "scale": scale} for name, center, scale in FEATURES],
        "calendar": [],
        "targets": [name for name, _, _ in FEATURES],
        "quantiles": [],
        "strategy": "direct",
        "examples": [example(1_528_000_080_000, 1), example(1_546_300_800_000, 2)],
    }
    model = helper.make_model(
        graph(), producer_name="foretell-demo", ir_version=10, opset_imports=[helper.make_opsetid("", 17)]
    )
    checker.check_model(model)
    helper.set_model_props(model, {"foretell.contract": json.dumps(contract, allow_nan=False)})
    (pathlib.Path(__file__).parent / "last_value.onnx").write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
