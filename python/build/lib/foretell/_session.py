"""ONNX Runtime as the worker uses it, and whether a graph is the one that its contract describes.

The counterparts of the worker's ``infer/session.rs`` and ``infer/signature.rs``, with their words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ._contract import Contract
from ._errors import RefusedError

_TYPES = {
    "float": "f32",
    "double": "f64",
    "float16": "f16",
    "bfloat16": "bf16",
    "string": "String",
    **{f"{sign}int{bits}": f"{sign[:1] or 'i'}{bits}" for sign in ("", "u") for bits in (4, 8, 16, 32, 64)},
}


@dataclass(frozen=True)
class Port:
    """An input or output of a graph; dimensions are ``None`` where they are symbolic."""

    name: str
    kind: str
    is_float32: bool
    dimensions: tuple[int | None, ...]


class RunError(Exception):
    """What ONNX Runtime said of a run that failed."""


class Session:
    """A loaded model, with the worker's options: one thread, no memory pattern."""

    def __init__(self, data: bytes) -> None:
        """Loads the bytes of an ONNX file.

        Raises:
            RefusedError: When ONNX Runtime does not load them.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = False
        # Everything it would say comes back as an error too.
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # The runtime raises a type per status, without a common one.
            raise RefusedError(f"ONNX Runtime {runtime_version()} does not load the model: {_detail(error)}") from error
        self.inputs = [_port(argument) for argument in self._session.get_inputs()]
        self.outputs = [_port(argument) for argument in self._session.get_outputs()]

    def run(self, tensor: NDArray[np.float32], wanted: tuple[int, int, int]) -> list[NDArray[np.float32]]:
        """Runs the model on [n, window, width]; every output has the shape ``wanted``.

        Raises:
            RunError: When the run fails or an output has another shape.
        """
        try:
            outputs = self._session.run(None, {self.inputs[0].name: tensor})
        except Exception as error:
            raise RunError(_detail(error)) from error
        for index, output in enumerate(outputs):
            if output.shape != wanted:
                raise RunError(f"output {index} has the shape {list(output.shape)}, the contract wants {list(wanted)}")
        return list(outputs)


def runtime_version() -> str:
    """The version as the worker writes it, such as ``1.32 (fab30a4)``."""
    minor = ".".join(onnxruntime.__version__.split(".")[:2])
    commit = re.search(r"git-commit-id=([^,\s]+)", onnxruntime.get_build_info())
    return f"{minor} ({commit[1] if commit else 'unknown commit'})"


def _detail(error: Exception) -> str:
    """The runtime's words, without the code that its Python binding puts before them."""
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))


def _port(argument: onnxruntime.NodeArg) -> Port:
    element = re.fullmatch(r"tensor\((.+)\)", argument.type)
    # The binding gives a symbol as text, a nameless one as None, a size as int.
    sizes = [size if isinstance(size, int) and size >= 0 else None for size in argument.shape]
    shown = [
        str(size if size is not None else symbol if isinstance(symbol, str) and symbol else "dyn")
        for size, symbol in zip(sizes, argument.shape, strict=True)
    ]
    kind = f"Tensor<{_TYPES.get(element[1], element[1])}>({', '.join(shown)})" if element else argument.type
    return Port(argument.name, kind, argument.type == "tensor(float)", tuple(sizes))


def steps_per_run(contract: Contract) -> int:
    """Steps that one run gives."""
    return contract.horizon if contract.strategy == "direct" else 1


def check_signature(session: Session, contract: Contract) -> bool:
    """Compares the graph's input and outputs with the contract's shapes.

    Returns:
        True when the graph takes any number of rows, False when its batch dimension is fixed at 1.

    Raises:
        RefusedError: When they differ.
    """
    if len(session.inputs) != 1:
        raise RefusedError(
            f"the graph has {len(session.inputs)} inputs without a value of their own; a model has one, the windows"
        )
    window, width = contract.window, contract.width
    any_rows = _check_port(
        "input",
        session.inputs[0],
        (window, width),
        f"[n, window {window}, inputs {width} (features + 2 x calendar)]",
    )
    wanted = 1 + len(contract.quantiles)
    if len(session.outputs) != wanted:
        raise RefusedError(
            f"the graph has {len(session.outputs)} outputs; the contract wants {wanted}: "
            "the means, then one per quantile"
        )
    targets = len(contract.targets)
    shape = (
        f"[n, horizon {contract.horizon}, targets {targets}]"
        if contract.strategy == "direct"
        else f"[n, 1, targets {targets}] (recursive strategy)"
    )
    for output in session.outputs:
        any_rows &= _check_port("output", output, (steps_per_run(contract), targets), shape)
    return any_rows


def _check_port(port: str, found: Port, wanted: tuple[int, int], shape: str) -> bool:
    def agrees(size: int | None, needed: int) -> bool:
        return size is None or size == needed

    rows: int | None = -1
    if not found.dimensions and port == "output":
        # Shape inference gave up on an output; runs will show.
        rows = None
    elif len(found.dimensions) == 3:
        first, second, third = found.dimensions
        if agrees(second, wanted[0]) and agrees(third, wanted[1]):
            rows = first
    if not found.is_float32 or rows not in (None, 1):
        raise RefusedError(f'the graph\'s {port} "{found.name}" is {found.kind}; it must be a float32 tensor {shape}')
    return rows is None
