"""What makes no good package although the worker would serve it: checked when one is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from ._contract import Contract
from ._errors import RefusedError
from ._forecaster import TOLERANCE, model_inputs
from ._session import RunError, Session, steps_per_run

# Operators whose outputs differ from run to run: the same input must give the same forecast.
_RANDOM = {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
}
# What one unit in the last place of a value may amount to, in scaled units: an eighth of what float32 keeps.
_ULP_MAX = 2.0**-26


def check_precision(contract: Contract, columns: Sequence[int], values: NDArray[np.float64]) -> None:
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


def check_graph(model: onnx.ModelProto, session: Session, contract: Contract) -> None:
    """Refuses windows of changing size, and operators that sample."""
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


def check_export(session: Session, contract: Contract, expected: list[NDArray[np.float32]]) -> None:
    """Compares the exported graph with the module on the examples."""
    steps = steps_per_run(contract)
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
