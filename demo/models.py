"""The two sample models as PyTorch modules.

Both take float32 [n, 64, 5]: the three features, scaled by the contract, then sine and cosine of the minute of
the day. They normalise every window by its own mean and deviation inside the graph: the cells differ in level
by a factor of three, and what is forecast is the course, not the level. The contract unscales the outputs.
"""

import numpy as np
import torch
from cells import FEATURES, HORIZON, QUANTILES, WINDOW
from torch import Tensor, nn

# Below this deviation, in scaled units, a window counts as constant.
DEVIATION_MIN = 1e-3


def over_slots(features: Tensor) -> Tensor:
    """Means [n, 1, features]."""
    return nn.functional.avg_pool1d(features.transpose(1, 2), WINDOW).transpose(1, 2)


def normalised(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[n, window, features] -> the same by each window's mean and deviation, and those, [n, 1, features].

    The means are a pool over the whole window: ONNX Runtime's ReduceMean of a middle axis sums in an order that
    depends on n, and a model whose rows depend on their batch is run one row at a time.
    """
    mean = over_slots(features)
    deviation = over_slots((features - mean) ** 2).sqrt().clamp(min=DEVIATION_MIN)
    return (features - mean) / deviation, mean, deviation


class Gru(nn.Module):
    """A GRU of 64 units over the window; a dense layer gives all steps as distances from the last value."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(len(FEATURES) + 2, 64, batch_first=True)
        self.head = nn.Linear(64, HORIZON * len(FEATURES))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, window: Tensor) -> Tensor:
        """[n, 64, 5] -> means [n, 12, 3]."""
        x, mean, deviation = normalised(window[:, :, : len(FEATURES)])
        states, _ = self.gru(torch.cat([x, window[:, :, len(FEATURES) :]], dim=2))
        distance = self.head(states[:, -1]).reshape(-1, HORIZON, len(FEATURES))
        return (x[:, -1:] + distance) * deviation + mean


class Block(nn.Module):
    """One rate of the N-HiTS: pools the rest of the window, and explains a part of it and of the future."""

    def __init__(self, pool: int, knots: int, outputs: int, hidden: int = 128) -> None:
        super().__init__()
        self.knots, self.outputs = knots, outputs
        self.pool = nn.AvgPool1d(pool, pool)
        slots = WINDOW // pool
        # The time of day of the newest slot goes in beside the pooled values.
        self.layers = nn.Sequential(
            nn.Linear(slots * len(FEATURES) + 2, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.backcast = nn.Linear(hidden, slots * len(FEATURES))
        self.forecast = nn.Linear(hidden, knots * outputs)
        for head in (self.backcast, self.forecast):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.register_buffer("spread_window", interpolation(slots, WINDOW))
        self.register_buffer("spread_horizon", interpolation(knots, HORIZON))

    def forward(self, rest: Tensor, time_of_day: Tensor) -> tuple[Tensor, Tensor]:
        """[n, features, 64], [n, 2] -> backcast [n, features, 64], forecast [n, outputs, 12]."""
        pooled = self.pool(rest).flatten(1)
        hidden = self.layers(torch.cat([pooled, time_of_day], dim=1))
        backcast = self.backcast(hidden).reshape(-1, len(FEATURES), self.spread_window.shape[0])
        forecast = self.forecast(hidden).reshape(-1, self.outputs, self.knots)
        return backcast @ self.spread_window, forecast @ self.spread_horizon


class Hits(nn.Module):
    """N-HiTS-like (Challu et al., AAAI 2023): three blocks from slow to fast, with mean and quantiles.

    The quantiles cannot cross: the outer ones are distances, which a softplus keeps positive.
    """

    def __init__(self) -> None:
        super().__init__()
        outputs = len(FEATURES) * (1 + len(QUANTILES))
        self.blocks = nn.ModuleList([Block(8, 3, outputs), Block(4, 6, outputs), Block(1, 12, outputs)])

    def forward(self, window: Tensor) -> tuple[Tensor, ...]:
        """[n, 64, 5] -> means and the three quantiles, each [n, 12, 3]."""
        x, mean, deviation = normalised(window[:, :, : len(FEATURES)])
        time_of_day = window[:, -1, len(FEATURES) :]
        rest = x.transpose(1, 2)
        parts: Tensor | float = 0.0
        for block in self.blocks:
            backcast, forecast = block(rest, time_of_day)
            rest = rest - backcast
            parts = parts + forecast
        shaped = parts.reshape(-1, 1 + len(QUANTILES), len(FEATURES), HORIZON).transpose(2, 3)
        last = x[:, -1:]
        median = last + shaped[:, 2]
        below, above = (nn.functional.softplus(shaped[:, part] + 0.5) for part in (1, 3))
        outputs = [last + shaped[:, 0], median - below, median, median + above]
        return tuple(output * deviation + mean for output in outputs)


def interpolation(knots: int, points: int) -> Tensor:
    """[knots, points]: multiplying by it interpolates linearly between evenly spaced knots."""
    at = np.linspace(0.0, knots - 1.0, points)
    rows = [np.interp(at, np.arange(knots), np.eye(knots)[knot]) for knot in range(knots)]
    return torch.tensor(np.array(rows), dtype=torch.float32)
