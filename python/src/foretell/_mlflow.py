"""Model packages, logged to MLflow so that workers can fetch them."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnxruntime

from ._contract import Contract
from ._errors import ForetellError, PackageError
from ._package import Package, load

# What a worker reads in `mlflow://name/version` (src/models/fetch/uri.rs).
_NAME_BYTES_MAX = 256
_NOT_IN_NAMES = "/:@?#\\"
# Where a worker fetches from what a tracking server keeps.
_PLACES = ("mlflow-artifacts:", "s3://")


@dataclass(frozen=True)
class LoggedModel:
    """A version of a registered model, which workers can fetch.

    Attributes:
        name: Name of the registered model.
        version: Its version, a number that MLflow gave.
        uri: ``mlflow://name/version``, as workers and commands name it.
        sha256: SHA-256 of the very bytes that a worker fetches from there, lower-case hexadecimal: what
            commands name, and what every forecast of this model will say.
    """

    name: str
    version: int
    uri: str
    sha256: str


def log_model(package: Package | str | os.PathLike[str], *, registered_name: str | None = None) -> LoggedModel:
    """Logs a package to MLflow and registers it, so that workers can fetch it.

    It becomes a model of the ONNX flavour, in the active run where there is one, with the contract in its
    metadata, all in one file. What MLflow stored is read back and checked as a worker checks it before a
    version is registered, so that a version that no worker would serve is never there. The tags of the version
    say ``foretell.sha256``, and ``foretell.version``, which is the contract's.

    The server is MLflow's own setting: ``mlflow.set_tracking_uri``, or ``MLFLOW_TRACKING_URI``. It has to be the
    one that the workers know as ``promotion.mlflow_uri``.

    Args:
        package: What :func:`foretell.package` or :func:`foretell.load` gave, or the file.
        registered_name: Name of the registered model, which is made where it is not there; the contract's
            ``name`` when left out. 1 to 256 bytes, without slashes, colons, and any of ``@ ? #``.

    Returns:
        The version. An alias is MLflow's to give:
        ``mlflow.MlflowClient().set_registered_model_alias(logged.name, "champion", logged.version)``.

    Raises:
        ImportError: Without mlflow: ``pip install 'foretell[mlflow]'``.
        PackageError: When no worker would serve the package, in its words; or when its file has changed since
            it was loaded.
        ForetellError: When no worker could fetch it: the name is none of ``mlflow://name/version``, MLflow is set
            to a folder or a database instead of a server, or the server keeps artifacts where workers fetch none.
        mlflow.exceptions.MlflowException: What the server refuses, or that it gives no answer; that is after
            some minutes, unless ``MLFLOW_HTTP_REQUEST_MAX_RETRIES`` is set.
    """
    mlflow = _mlflow()
    made = _unchanged(package)
    name = _checked(made.contract.name if registered_name is None else registered_name)
    _ensure_server(mlflow)
    info = mlflow.onnx.log_model(
        onnx.load(made.path),
        name="model",
        signature=_signature(made.contract),
        # Else MLflow loads the model in a process of its own to find out.
        pip_requirements=[f"onnx=={onnx.__version__}", f"onnxruntime=={onnxruntime.__version__}"],
        onnx_execution_providers=["CPUExecutionProvider"],
        save_as_external_data=False,
    )
    stored = _stored(mlflow, info)
    registered = mlflow.register_model(
        info.model_uri,
        name,
        tags={"foretell.sha256": stored.digest, "foretell.version": stored.contract.version},
    )
    version = int(registered.version)
    return LoggedModel(name=name, version=version, uri=f"mlflow://{name}/{version}", sha256=stored.digest)


def _mlflow() -> Any:
    try:
        import mlflow
        import mlflow.onnx
    except ImportError as error:
        raise ImportError(
            f"logging a model needs {error.name}, which is not installed: pip install 'foretell[mlflow]'"
        ) from error
    return mlflow


def _unchanged(package: Package | str | os.PathLike[str]) -> Package:
    """The package as its file has it now."""
    found = load(package.path if isinstance(package, Package) else package)
    if isinstance(package, Package) and found.digest != package.digest:
        raise PackageError(str(found.path), "the file has changed since the package was loaded: load it again")
    return found


def _checked(name: str) -> str:
    length = len(name.encode())
    wrong = [character for character in name if character in _NOT_IN_NAMES or not character.isprintable()]
    if 1 <= length <= _NAME_BYTES_MAX and not wrong:
        return name
    found = f"has {wrong[0]!r} in it" if wrong else f"has {length} bytes"
    raise ForetellError(
        f"the registered model would be called {name[:64]!r}, which {found}: workers fetch mlflow://name/version, "
        f"the name of 1 to {_NAME_BYTES_MAX} bytes without any of {' '.join(_NOT_IN_NAMES)}; say registered_name"
    )


def _ensure_server(mlflow: Any) -> None:
    tracking, registry = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    if not tracking.startswith(("http://", "https://")):
        scheme = tracking.split(":", 1)[0] if "://" in tracking else "a folder"
        raise ForetellError(
            f"MLflow is set to {scheme}, not to a tracking server, and workers ask one over HTTP: "
            "mlflow.set_tracking_uri('http://...'), or set MLFLOW_TRACKING_URI"
        )
    if registry != tracking:
        raise ForetellError(
            "MLflow's registry is another server than the one that tracks, and workers ask one for both: "
            "mlflow.set_registry_uri to the address of mlflow.get_tracking_uri()"
        )


def _signature(contract: Contract) -> Any:
    """The ports as MLflow shows them."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def port(shape: tuple[int, ...], name: str | None = None) -> Any:
        return TensorSpec(np.dtype(np.float32), shape, name)

    return ModelSignature(inputs=Schema([port((-1, contract.window, contract.width))]))


def _stored(mlflow: Any, info: Any) -> Package:
    """What a worker would fetch, fetched and checked."""
    place = mlflow.get_logged_model(info.model_id).artifact_location
    if not place.startswith(_PLACES):
        raise ForetellError(
            f"the server keeps artifacts at {place}, and workers fetch them through the server "
            "(mlflow server --artifacts-destination ...) or from s3://; nothing is registered"
        )
    file = info.flavors["onnx"]["data"]
    with tempfile.TemporaryDirectory() as folder:
        fetched = mlflow.artifacts.download_artifacts(artifact_uri=f"{place}/{file}", dst_path=folder)
        return load(Path(fetched))
