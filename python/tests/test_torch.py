"""PyTorch modules become packages that forecast as the module does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import foretell
from conftest import arguments, check

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")


class Gru(torch.nn.Module):  # type: ignore[misc,name-defined]
    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.gru = torch.nn.GRU(5, 8, batch_first=True)
        self.dropout = torch.nn.Dropout(0.5)
        self.heads = torch.nn.ModuleList([torch.nn.Linear(8, 4 * 3) for _ in range(outputs)])

    def forward(self, window: Any) -> Any:
        states, _ = self.gru(window)
        last = self.dropout(states[:, -1])
        outputs = tuple(head(last).reshape(-1, 4, 3) for head in self.heads)
        return outputs if len(outputs) > 1 else outputs[0]


def module_arguments(**changes: Any) -> dict[str, Any]:
    random = np.random.default_rng(2)
    times = 1_546_300_800_000 + 120_000 * np.arange(-5, 1)
    examples = [(times, random.normal(0, 5, (6, 3))) for _ in range(3)]
    base = {"window": 6, "horizon": 4, "calendar": ["minute_of_day"], "examples": examples}
    return arguments(**{**base, **changes})


def refused(tmp_path: Path, module: Any, **changes: Any) -> str:
    with pytest.raises(foretell.PackageError) as error:
        foretell.package(module, tmp_path / "m.onnx", **module_arguments(**changes))
    assert error.value.file == str(tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
    return error.value.reason


@pytest.mark.parametrize("levels", [[], [0.1, 0.5, 0.9]], ids=["means", "quantiles"])
def test_a_module_is_packaged_with_a_dynamic_batch(levels: list[float], binary: Path, tmp_path: Path) -> None:
    module = Gru(1 + len(levels)).train()
    made = foretell.package(module, tmp_path / "m.onnx", **module_arguments(quantiles=levels))
    assert module.training, "the module is left as it was"
    verdict = check(binary, made.path)
    assert verdict.reason is None and verdict.error is not None and verdict.error < 1e-6
    graph = onnx.load(made.path).graph
    assert [port.name for port in graph.output] == ["mean", *(f"quantile_{level}" for level in levels)]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert str(Path(__file__).parent).encode() not in made.path.read_bytes(), "paths of this machine"


def test_a_module_whose_operators_are_named_as_the_outputs_are_is_packaged(binary: Path, tmp_path: Path) -> None:
    class Means(torch.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, window: Any) -> Any:
            mean = window[:, :, :3].mean(dim=1, keepdim=True)
            return (mean * 0.5 + window[:, -1:, :3] * 0.5).repeat(1, 4, 1)

    made = foretell.package(Means(), tmp_path / "m.onnx", **module_arguments())
    assert check(binary, made.path).reason is None
    assert [port.name for port in onnx.load(made.path).graph.output] == ["mean"]


def test_the_forecast_is_the_modules_own(tmp_path: Path) -> None:
    module = Gru()
    made = foretell.package(module, tmp_path / "m.onnx", **module_arguments())
    example = made.contract.examples[0]
    angle = 2 * np.pi * ((example.origin_ms // 60_000 + 2 * np.arange(-5, 1)) % 1440) / 1440
    scaled = (example.values - [1, -1, 0]) / [2, 1, 10]
    window = np.column_stack([scaled, np.sin(angle), np.cos(angle)]).astype(np.float32)
    with torch.no_grad():
        own = module.eval()(torch.from_numpy(window[None]))[0].numpy()
    np.testing.assert_allclose(example.forecast[:, 0].T, own * [2, 1, 10] + [1, -1, 0], rtol=1e-5, atol=1e-5)


def test_a_module_of_another_width_is_refused(tmp_path: Path) -> None:
    reason = refused(tmp_path, Gru(), calendar=[])
    assert reason.startswith("the module's forward does not take a float32 tensor [n, window 6, inputs 3")


def test_a_module_with_other_outputs_is_refused_as_the_worker_would(tmp_path: Path) -> None:
    assert refused(tmp_path, Gru(), quantiles=[0.5]) == (
        "the graph has 1 outputs; the contract wants 2: the means, then one per quantile"
    )
    assert 'output "mean" is Tensor<f32>(n, 4, 3); it must be a float32 tensor' in refused(tmp_path, Gru(), horizon=5)
    assert "the graph has 2 outputs; the contract wants 1" in refused(tmp_path, Gru(2))


def test_a_module_that_returns_no_tensor_is_refused(tmp_path: Path) -> None:
    class Dictionary(Gru):
        def forward(self, window: Any) -> Any:
            return {"mean": super().forward(window)}

    assert refused(tmp_path, Dictionary()).startswith("the module's forward returns dict; it must return the tensor")


def test_a_module_that_follows_its_data_is_refused(tmp_path: Path) -> None:
    class Branches(Gru):
        def forward(self, window: Any) -> Any:
            return super().forward(window) if window.sum() > 0 else super().forward(window) * 2

    reason = refused(tmp_path, Branches())
    assert "cannot export the module with a dynamic batch" in reason or "differs from the module's own" in reason


def test_a_module_that_samples_is_refused(tmp_path: Path) -> None:
    class Sampling(Gru):
        def forward(self, window: Any) -> Any:
            return super().forward(window) + torch.randn(window.shape[0], 4, 3)

    reason = refused(tmp_path, Sampling())
    assert "Random" in reason or "cannot export" in reason
