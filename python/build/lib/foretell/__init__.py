"""Makes model packages for the foretell worker, runs them as it does, and reads its forecasts.

foretell.package(model, "cells.onnx", name="cells", version="1", ...)   # a PyTorch module or an ONNX file
foretell.load("cells.onnx").forecast(times, values)                     # what the worker would forecast
foretell.read_forecasts("localhost:9092", "forecasts")                  # what it did forecast
"""

from ._contract import Contract, Example, Feature
from ._errors import ForetellError, NoForecastError, PackageError
from ._make import package
from ._package import Forecast, Package, load
from ._read import read_forecasts

__all__ = [
    "Contract",
    "Example",
    "Feature",
    "Forecast",
    "ForetellError",
    "NoForecastError",
    "Package",
    "PackageError",
    "load",
    "package",
    "read_forecasts",
]
