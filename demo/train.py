"""Trains the sample models and packages them: gru.onnx and hits.onnx beside this file.

    pip install -r demo/requirements-train.txt
    python3 demo/train.py FOLDER_WITH_THE_CSV_FILES

The folder holds ElBorn.csv, LesCorts.csv and PobleSec.csv (README.md says where they come from). The
`_test` files are not read. No test runs this; it takes a few minutes on one core. Seeded: the same versions
on the same processor give the same weights. demo/evaluate.py judges what comes out.
"""

import argparse
import copy
import math
import time
from collections.abc import Callable
from pathlib import Path

import cells
import foretell
import models
import numpy as np
import torch
from torch import Tensor, nn

SEED = 7
BATCH = 256
# The last part of each file is held back to choose the epoch.
VALIDATION_SHARE = 0.1
LEARNING_RATE = 2e-3


class Data:
    """Windows of all cells: scaled inputs, futures in the same scale, and each cell's unit of error."""

    def __init__(self, folder: Path) -> None:
        series = {name: cells.read_csv(folder / f"{name}.csv") for name in cells.SERIES}
        stacked = np.concatenate([values for _, values in series.values()])
        self.center, self.scale = np.nanmean(stacked, axis=0), np.nanstd(stacked, axis=0)
        parts: dict[str, list[np.ndarray]] = {"train": [], "validation": []}
        collected: dict[str, dict[str, list[np.ndarray]]] = {
            part: {"inputs": [], "futures": [], "units": [], "origins": []} for part in parts
        }
        for times, values in series.values():
            inputs, futures, origins = cells.windows(times, values)
            # Errors count in the cell's own deviation, or the busiest cell would be all that is learned.
            unit = np.nanstd(values, axis=0) / self.scale
            split = int(len(inputs) * (1 - VALIDATION_SHARE))
            # A window before the split must not see, nor forecast, what lies behind it.
            whole = {"train": slice(0, split - cells.HORIZON - cells.WINDOW), "validation": slice(split, None)}
            for part, rows in whole.items():
                into = collected[part]
                into["inputs"].append((inputs[rows] - self.center) / self.scale)
                into["futures"].append((futures[rows] - self.center) / self.scale)
                into["units"].append(np.broadcast_to(unit, (len(inputs[rows]), 1, len(unit))))
                into["origins"].append(origins[rows])
        self.parts = {
            part: {
                name: torch.tensor(np.concatenate(pieces), dtype=torch.int64 if name == "origins" else torch.float32)
                for name, pieces in into.items()
            }
            for part, into in collected.items()
        }

    def inputs(self, part: str) -> Tensor:
        """[n, 64, 5]: the features, then sine and cosine of the minute of the day."""
        slots = torch.arange(1 - cells.WINDOW, 1)
        times = self.parts[part]["origins"][:, None] + slots * cells.STEP_SECONDS * 1000
        angle = (times // 60_000 % 1440).to(torch.float64) * (2.0 * math.pi / 1440.0)
        calendar = torch.stack([angle.sin(), angle.cos()], dim=2).to(torch.float32)
        return torch.cat([self.parts[part]["inputs"], calendar], dim=2)


def masked_mean(losses: Tensor, futures: Tensor) -> Tensor:
    """Mean of the losses where what followed is known; unknown ones are NaN."""
    return losses[futures.isfinite()].mean()


def gru_loss(forecast: Tensor, futures: Tensor, units: Tensor) -> Tensor:
    """Huber's loss with its bend at a quarter of a deviation: nearly the absolute error, smooth near zero."""
    return masked_mean(nn.functional.huber_loss(forecast / units, futures / units, reduction="none", delta=0.25), futures)


def hits_loss(outputs: tuple[Tensor, ...], futures: Tensor, units: Tensor) -> Tensor:
    """Huber's loss of the mean and the pinball loss of every quantile."""
    mean, *quantiles = outputs
    loss = gru_loss(mean, futures, units)
    for level, quantile in zip(cells.QUANTILES, quantiles, strict=True):
        error = (futures - quantile) / units
        loss = loss + masked_mean(torch.maximum(level * error, (level - 1) * error), futures)
    return loss


def train(model: nn.Module, data: Data, loss: Callable[..., Tensor], epochs: int) -> nn.Module:
    """The model as it was after the epoch that forecast the held-back part best."""
    part = data.parts["train"]
    inputs = data.inputs("train")
    held_inputs, held = data.inputs("validation"), data.parts["validation"]
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    batches = math.ceil(len(inputs) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=epochs * batches)
    best, best_loss = copy.deepcopy(model), math.inf
    began = time.monotonic()
    for epoch in range(1, epochs + 1):
        model.train()
        for rows in torch.randperm(len(inputs)).split(BATCH):
            optimizer.zero_grad()
            loss(model(inputs[rows]), part["futures"][rows], part["units"][rows]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        model.eval()
        with torch.no_grad():
            held_loss = float(loss(model(held_inputs), held["futures"], held["units"]))
        if held_loss < best_loss:
            best, best_loss = copy.deepcopy(model), held_loss
        print(f"{type(model).__name__} epoch {epoch:2d}: {held_loss:.4f} (best {best_loss:.4f}), "
              f"{time.monotonic() - began:.0f} s", flush=True)
    return best


def package(model: nn.Module, data: Data, name: str, quantiles: list[float]) -> None:
    """Writes the package; the examples are held-back windows, a few of every cell."""
    held = data.parts["validation"]
    rows = np.linspace(0, len(held["origins"]) - 1, 6).astype(int)
    step_ms = cells.STEP_SECONDS * 1000
    examples = []
    for row in rows:
        times = int(held["origins"][row]) + step_ms * np.arange(1 - cells.WINDOW, 1)
        values = held["inputs"][row].numpy().astype(np.float64) * data.scale + data.center
        examples.append((times, values.round(3)))
    path = Path(__file__).with_name(f"{name}.onnx")
    foretell.package(
        model, path, name=name, version="1", step=cells.STEP_SECONDS, window=cells.WINDOW, horizon=cells.HORIZON,
        features=cells.FEATURES, targets=cells.FEATURES, scaler=(data.center.tolist(), data.scale.tolist()),
        calendar=["minute_of_day"], quantiles=quantiles, examples=examples,
    )
    print(f"{path.name}: {path.stat().st_size} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains and packages the sample models.")
    parser.add_argument("folder", type=Path, help="folder with ElBorn.csv, LesCorts.csv and PobleSec.csv")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    data = Data(arguments.folder)
    torch.manual_seed(SEED)
    package(train(models.Gru(), data, gru_loss, epochs=12), data, "gru", [])
    torch.manual_seed(SEED)
    package(train(models.Hits(), data, hits_loss, epochs=5), data, "hits", cells.QUANTILES)


if __name__ == "__main__":
    main()
