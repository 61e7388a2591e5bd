"""What the tests share: the worker's binary, small ONNX models, and a contract to break."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

REPOSITORY = Path(__file__).resolve().parents[2]
UNSET = (
    "FORETELL_BIN is not set: NOTHING IS COMPARED WITH THE WORKER. "
    "cargo build --release, then FORETELL_BIN=target/release/foretell"
)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What ``foretell model check`` says of a file: the reason it refuses it, or how far its examples are off."""

    reason: str | None
    error: float | None


@pytest.fixture(scope="session")
def binary() -> Path:
    """The worker; a path that is set but leads nowhere fails."""
    if not os.environ.get("FORETELL_BIN"):
        pytest.skip(UNSET)
    path = Path(os.environ["FORETELL_BIN"]).resolve()
    assert path.is_file(), f"FORETELL_BIN leads nowhere: {path}"
    return path


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not os.environ.get("FORETELL_BIN"):
        terminalreporter.write_sep("!", UNSET, red=True)


def check(binary: Path, file: Path) -> Verdict:
    """Asks the worker about a package."""
    done = subprocess.run([binary, "model", "check", file], capture_output=True, text=True, timeout=60)
    if done.returncode == 0:
        found = re.search(r"largest error (\S+) ", done.stdout)
        assert found, done.stdout
        return Verdict(None, float(found[1]))
    # ONNX Runtime logs to the same stream before the sentence.
    said = done.stderr[done.stderr.rindex("foretell: ") :].removeprefix("foretell: ")
    return Verdict(said.removeprefix(f"{file}: ").strip(), None)


def model(
    *nodes: onnx.NodeProto,
    inputs: dict[str, list[int | str]] | None = None,
    outputs: dict[str, list[int | str] | None] | None = None,
    constants: dict[str, np.ndarray] | None = None,
    kind: int = TensorProto.FLOAT,
    domains: tuple[str, ...] = (),
) -> onnx.ModelProto:
    """A graph of [n, 2, 3] -> [n, 1, 3], or of other ports."""
    ports = {"x": ["n", 2, 3]} if inputs is None else inputs
    results = {"mean": ["n", 1, 3]} if outputs is None else outputs
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in ports.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in results.items()],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid(domain, 17 if not domain else 1) for domain in ("", *domains)]
    return helper.make_model(graph, ir_version=10, opset_imports=opsets)


LAST_SLOT = {"from": np.array([1]), "to": np.array([2]), "axis": np.array([1])}


def last_slot(source: str = "x", into: str = "mean") -> onnx.NodeProto:
    return helper.make_node("Slice", [source, "from", "to", "axis"], [into])


def last_value(**ports: Any) -> onnx.ModelProto:
    """The last of two slots is the forecast of the one step."""
    return model(last_slot(), constants=LAST_SLOT, **ports)


CONTRACT: dict[str, Any] = {
    "format": 1,
    "name": "m",
    "version": "1",
    "step_seconds": 120,
    "window": 2,
    "horizon": 1,
    "features": [
        {"name": "a", "center": 1.0, "scale": 2.0},
        {"name": "b", "center": -1, "scale": 0},
        {"name": "c", "center": 0, "scale": 10.0},
    ],
    "calendar": [],
    "targets": ["a", "b", "c"],
    "quantiles": [],
    "strategy": "direct",
    "examples": [
        {
            "times": [120_000, 240_000],
            "values": [[1, 2, 3], [4, 5, 6]],
            "forecast": {"a": {"mean": [4]}, "b": {"mean": [5]}, "c": {"mean": [6]}},
        }
    ],
}


def contract(**changes: Any) -> dict[str, Any]:
    """A sound contract of :func:`last_value`, with some keys changed."""
    return copy.deepcopy(CONTRACT) | changes


def with_contract(graph: onnx.ModelProto, value: dict[str, Any] | str) -> bytes:
    text = value if isinstance(value, str) else json.dumps(value)
    copied = onnx.ModelProto()
    copied.CopyFrom(graph)
    helper.set_model_props(copied, {"foretell.contract": text})
    return copied.SerializeToString()


def arguments(**changes: Any) -> dict[str, Any]:
    """What ``foretell.package`` takes beside the model and the path, for :func:`last_value`."""
    return {
        "name": "m",
        "version": "1",
        "step": 120,
        "window": 2,
        "horizon": 1,
        "features": ["a", "b", "c"],
        "targets": ["a", "b", "c"],
        "scaler": ([1.0, -1.0, 0.0], [2.0, 0.0, 10.0]),
        "examples": [([120_000, 240_000], [[1, 2, 3], [4, 5, 6]])],
    } | changes
