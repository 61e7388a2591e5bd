"""Makes model packages for the foretell worker, logs them, runs them as it does, and reads its forecasts.

foretell.package(model, "cells.onnx", name="cells", version="1", ...)   # a PyTorch module or an ONNX file
foretell.log_model("cells.onnx")                                        # to MLflow, for workers to fetch
foretell.load("cells.onnx").forecast(times, values)                     # what the worker would forecast
foretell.read_forecasts("localhost:9092", "forecasts")                  # what it did forecast
"""

from ._contract import Contract, Example, Feature
from ._errors import ForetellError, NoForecastError, PackageError
from ._make import package
from ._mlflow import LoggedModel, log_model
from ._package import Forecast, Package, load
from ._read import read_forecasts

__all__ = [
    "Contract",
    "Example",
    "Feature",
    "Forecast",
    "ForetellError",
    "LoggedModel",
    "NoForecastError",
    "Package",
    "PackageError",
    "load",
    "log_model",
    "package",
    "read_forecasts",
]
