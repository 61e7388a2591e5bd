"""Trains a model, packages it, logs it to MLflow and gives it an alias.

    pip install './python[mlflow]'                          # and torch, for --model torch
    export MLFLOW_TRACKING_URI=http://localhost:5000        # the server that the workers know too
    python python/examples/train_and_log.py --model linear

The data are four weeks of two meters, made here: consumption and temperature every 15 minutes. The linear model needs
nothing but numpy and onnx; that of PyTorch is exported by ``foretell.package``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import foretell

STEP_SECONDS, WINDOW, HORIZON, FEATURES = 900, 96, 8, ["kwh", "temp"]
START_MS = 1_767_571_200_000  # 2026-01-05T00:00:00Z


def meters() -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """The times, milliseconds [rows], and the values [rows, features] of each meter."""
    rng = np.random.default_rng(1)
    rows = np.arange(96 * 28)
    times = START_MS + rows * STEP_SECONDS * 1000
    day = 2 * np.pi * rows / 96
    series = []
    for base in (40.0, 25.0):
        temp = 8 + 6 * np.sin(day - 2) + rng.normal(0, 0.5, len(rows)).cumsum() * 0.02
        kwh = base + 12 * np.sin(day - 1.2) - 0.8 * temp + rng.normal(0, 1.5, len(rows))
        series.append((times, np.stack([kwh, temp], axis=1)))
    return series


def pairs(scaled: list[NDArray[np.float64]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Windows [n, WINDOW, features], and the HORIZON consumptions behind each, [n, HORIZON]."""
    ends = [(values, end) for values in scaled for end in range(WINDOW, len(values) - HORIZON)]
    windows = np.stack([values[end - WINDOW : end] for values, end in ends])
    futures = np.stack([values[end : end + HORIZON, 0] for values, end in ends])
    return windows.astype(np.float32), futures.astype(np.float32)


def linear(windows: NDArray[np.float32], futures: NDArray[np.float32]) -> onnx.ModelProto:
    """The change from the last value, by ridge regression on the whole window, as an ONNX graph."""
    flat = windows.reshape(len(windows), -1).astype(np.float64)
    change = futures - windows[:, -1:, 0]
    inputs = flat.shape[1]
    weights = np.linalg.solve(flat.T @ flat + 10.0 * np.eye(inputs), flat.T @ change)
    # So the weight of the last consumption has the value itself in it, and the graph is one product.
    weights[inputs - len(FEATURES)] += 1
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["window"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["steps"]),
            helper.make_node("Unsqueeze", ["steps", "last"], ["mean"]),
        ],
        "linear",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["n", WINDOW, len(FEATURES)])],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["n", HORIZON, 1])],
        [
            numpy_helper.from_array(weights.astype(np.float32), "weights"),
            numpy_helper.from_array(np.array([2], np.int64), "last"),
        ],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])


def torch_module(windows: NDArray[np.float32], futures: NDArray[np.float32]) -> Any:
    """The same by a small network."""
    import torch

    class Forecaster(torch.nn.Module):
        """[n, window, features] to [n, horizon, targets], as the change from the last value."""

        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Sequential(
                torch.nn.Flatten(),
                torch.nn.Linear(WINDOW * len(FEATURES), 64),
                torch.nn.ReLU(),
                torch.nn.Linear(64, HORIZON),
            )

        def forward(self, window: Any) -> Any:
            return window[:, -1:, :1] + self.net(window).unsqueeze(-1)

    torch.manual_seed(0)
    model = Forecaster()
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    x, y = torch.from_numpy(windows), torch.from_numpy(futures).unsqueeze(-1)
    for _ in range(3):
        for rows in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            torch.nn.functional.l1_loss(model(x[rows]), y[rows]).backward()
            optimiser.step()
    return model.eval()


def main() -> None:
    """From the data to an alias."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["linear", "torch"], default="linear")
    parser.add_argument("--version", default="1", help="of the model, as forecasts will say it")
    parser.add_argument("--alias", default="champion")
    asked = parser.parse_args()

    series = meters()
    values = np.concatenate([values for _, values in series])
    centers, scales = values.mean(axis=0), values.std(axis=0)
    windows, futures = pairs([(values - centers) / scales for _, values in series])
    train = linear if asked.model == "linear" else torch_module

    with tempfile.TemporaryDirectory() as folder:
        made = foretell.package(
            train(windows, futures),
            Path(folder) / "meters.onnx",
            name="meters",
            version=asked.version,
            step=STEP_SECONDS,
            window=WINDOW,
            horizon=HORIZON,
            features=FEATURES,
            targets=["kwh"],
            scaler=(centers, scales),
            examples=[(times[:WINDOW], values[:WINDOW]) for times, values in series],
        )
        logged = foretell.log_model(made)
    mlflow.MlflowClient().set_registered_model_alias(logged.name, asked.alias, str(logged.version))
    print(f"uri:    {logged.uri}")
    print(f"sha256: {logged.sha256}")
    print(f"alias:  mlflow://{logged.name}@{asked.alias}")


if __name__ == "__main__":
    main()
