"""scikit-learn's scalers become the contract's centers and scales."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import foretell
from conftest import arguments, check, last_value

preprocessing = pytest.importorskip("sklearn.preprocessing")

FEATURES = ["a", "b", "c"]
ROWS = np.random.default_rng(1).normal([1e8, -5.0, 1e-3], [3e7, 2.0, 1e-4], (200, 3))
# A constant column, whose scale scikit-learn takes as 1.
CONSTANT = np.where([True, False, True], ROWS, 7.0)

SCALERS = {
    "standard": preprocessing.StandardScaler(),
    "standard without mean": preprocessing.StandardScaler(with_mean=False),
    "standard without deviation": preprocessing.StandardScaler(with_std=False),
    "min-max": preprocessing.MinMaxScaler(),
    "min-max of another range": preprocessing.MinMaxScaler((-3, 5)),
    "robust": preprocessing.RobustScaler(),
    "robust of the tails": preprocessing.RobustScaler(quantile_range=(5, 95), unit_variance=True),
    "robust without centering": preprocessing.RobustScaler(with_centering=False),
    "robust without scaling": preprocessing.RobustScaler(with_scaling=False),
    "max-abs": preprocessing.MaxAbsScaler(),
}


@pytest.mark.parametrize("rows", [ROWS, CONSTANT], ids=["varying", "constant"])
@pytest.mark.parametrize("case", SCALERS)
def test_a_scaler_scales_as_the_contract_does(case: str, rows: Any, binary: Path, tmp_path: Path) -> None:
    scaler = SCALERS[case].fit(rows)
    made = foretell.package(
        last_value(),
        tmp_path / "m.onnx",
        **arguments(scaler=scaler, examples=[([0, 120_000], rows[:2]), ([0, 120_000], rows[7:9])]),
    )
    scaled = (rows - made.contract.centers) / made.contract.scales
    np.testing.assert_allclose(scaled, scaler.transform(rows), rtol=1e-9, atol=1e-9)
    verdict = check(binary, made.path)
    assert verdict.reason is None and verdict.error is not None and verdict.error < 1e-6


def reason(tmp_path: Path, scaler: Any, **changes: Any) -> str:
    with pytest.raises(foretell.PackageError) as error:
        foretell.package(last_value(), tmp_path / "m.onnx", **arguments(scaler=scaler, **changes))
    return error.value.reason


def test_a_scaler_of_another_width_is_refused(tmp_path: Path) -> None:
    assert reason(tmp_path, preprocessing.StandardScaler().fit(ROWS[:, :2])) == (
        "scaler StandardScaler has 2 columns, features has 3 (a, b, c): fit it on exactly these columns, in this order"
    )


def test_a_scaler_that_is_not_fitted_is_refused(tmp_path: Path) -> None:
    assert reason(tmp_path, preprocessing.RobustScaler()) == (
        "scaler RobustScaler is not fitted: call fit on the columns a, b, c"
    )


def test_a_scaler_that_is_not_affine_is_refused(tmp_path: Path) -> None:
    assert "does more than (value - center) / scale" in reason(
        tmp_path, preprocessing.MinMaxScaler(clip=True).fit(ROWS)
    )
    assert "scaler is a QuantileTransformer" in reason(
        tmp_path, preprocessing.QuantileTransformer(n_quantiles=10).fit(ROWS)
    )


def test_a_subclass_that_scales_otherwise_is_refused(tmp_path: Path) -> None:
    class Logarithm(preprocessing.StandardScaler):  # type: ignore[misc]
        def transform(self, rows: Any, copy: Any = None) -> Any:
            return np.log1p(np.abs(super().transform(rows)))

    assert "does more than (value - center) / scale" in reason(tmp_path, Logarithm().fit(ROWS))


def test_columns_are_compared_by_name(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    named = preprocessing.StandardScaler().fit(pd.DataFrame(ROWS, columns=["b", "a", "c"]))
    assert reason(tmp_path, named) == (
        "scaler StandardScaler was fitted on the columns b, a, c, features are a, b, c: "
        "give features in the order of the scaler and of the model's input"
    )
    fitting = preprocessing.StandardScaler().fit(pd.DataFrame(ROWS, columns=FEATURES))
    examples = [([0, 120_000], ROWS[:2])]
    foretell.package(last_value(), tmp_path / "m.onnx", **arguments(scaler=fitting, examples=examples))
