"""PyTorch modules to ONNX."""

from __future__ import annotations

import copy
import io
import logging
import sys
import warnings
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._contract import Contract
from ._errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator


def is_module(model: Any) -> bool:
    """Whether this is a PyTorch module; PyTorch is not imported for it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def export(module: Any, contract: Contract, inputs: NDArray[np.float32]) -> tuple[bytes, list[NDArray[np.float32]]]:
    """Exports a copy of the module, on the CPU and in evaluation mode, with a dynamic batch.

    Args:
        module: A ``torch.nn.Module`` of one input, [n, window, features + 2 x calendar].
        contract: What the module should be; its outputs are checked once they are ONNX.
        inputs: float32 [rows, window, width], to trace with.

    Returns:
        The ONNX file, and what the module itself makes of ``inputs``: float32 [rows, ...] per output.

    Raises:
        RefusedError: When the module does not take such an input, or cannot be exported.
    """
    import torch
    from onnx_ir.passes.common import NameFixPass

    module = copy.deepcopy(module).cpu().eval()
    # At least two rows: torch.export takes a dimension of 1 for a constant.
    tensor = torch.from_numpy(np.ascontiguousarray(np.resize(inputs, (max(2, len(inputs)), *inputs.shape[1:]))))
    shape = f"[n, window {contract.window}, inputs {contract.width} (features + 2 x calendar)]"
    try:
        with torch.no_grad():
            found = module(tensor)
    except Exception as error:
        raise RefusedError(
            f"the module's forward does not take a float32 tensor {shape}: {_first_line(error)}"
        ) from error
    outputs = list(found) if isinstance(found, tuple | list) else [found]
    if not all(isinstance(output, torch.Tensor) for output in outputs):
        raise RefusedError(
            f"the module's forward returns {type(found).__name__}; it must return the tensor of the means, "
            "or a tuple of it and one tensor per quantile"
        )
    names = ["mean", *(f"quantile_{level}" for level in contract.quantiles)]
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                (tensor,),
                input_names=["window"],
                output_names=names[: len(outputs)],
                dynamic_shapes=({0: torch.export.Dim("n")},),
                dynamo=True,
                verbose=False,
            )
    except ImportError as error:
        raise ImportError("exporting a PyTorch module needs onnxscript: pip install 'foretell[torch]'") from error
    except Exception as error:
        raise RefusedError(
            f"PyTorch {torch.__version__} cannot export the module with a dynamic batch: {_first_line(error)}; "
            "export it to ONNX yourself and give the file"
        ) from error
    assert program is not None
    # The exporter names values after operators: one called "mean" would collide with the output's name.
    NameFixPass()(program.model)
    model = program.model_proto
    # Where each node stood in the source: of no use to the worker, and paths of this machine.
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    model.graph.doc_string = ""
    del model.graph.metadata_props[:]
    return model.SerializeToString(deterministic=True), [output.numpy() for output in outputs]


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'without a message'}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of its progress and of itself."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
