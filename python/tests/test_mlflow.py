"""Packages are logged to a real MLflow server; what no worker could fetch is refused, and nothing registered then.

That a worker fetches them is tested in integration-tests/tests/model_fetch/.
"""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import foretell
from conftest import REPOSITORY, arguments, last_value

mlflow = pytest.importorskip("mlflow")
pytest.importorskip("uvicorn")

# It makes its database and imports a lot.
START_SECONDS = 180
EXAMPLE = REPOSITORY / "python" / "examples" / "train_and_log.py"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that serves its artifacts itself."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    # What `mlflow server` does, but for the process between, which would leave the server behind.
    environment = os.environ | {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/mlflow.db",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            [*command, "mlflow.server.fastapi_app:app"], env=environment, stdout=log, stderr=log, cwd=folder
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _is_well(url):
            assert server.poll() is None and time.monotonic() < deadline, (folder / "server.log").read_text()
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=60)


def _is_well(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture
def server(address: str) -> Iterator[str]:
    """The server, to which MLflow is set in a test."""
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    mlflow.set_tracking_uri(address)
    mlflow.set_registry_uri(address)
    yield address
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])


@pytest.fixture
def made(tmp_path: Path) -> foretell.Package:
    return foretell.package(last_value(), tmp_path / "m.onnx", **arguments())


def registered() -> set[str]:
    return {model.name for model in mlflow.MlflowClient().search_registered_models()}


def stored(url: str, logged: foretell.LoggedModel) -> bytes:
    """What the server serves, without MLflow's client."""
    place = mlflow.MlflowClient().get_model_version_download_uri(logged.name, str(logged.version))
    path = place.removeprefix("mlflow-artifacts:/")
    with urllib.request.urlopen(f"{url}/api/2.0/mlflow-artifacts/artifacts/{path}/model.onnx") as answer:
        return bytes(answer.read())


def test_what_is_logged_is_the_package_in_one_file(server: str, made: foretell.Package, tmp_path: Path) -> None:
    first = foretell.log_model(made, registered_name="whole")
    assert (first.name, first.version, first.uri) == ("whole", 1, "mlflow://whole/1")
    data = stored(server, first)
    assert first.sha256 == hashlib.sha256(data).hexdigest() == made.digest
    (tmp_path / "back.onnx").write_bytes(data)
    assert foretell.load(tmp_path / "back.onnx").contract.name == "m"
    version = mlflow.MlflowClient().get_model_version("whole", "1")
    assert version.tags == {"foretell.sha256": first.sha256, "foretell.version": "1"}

    # By file, and in a run; with weights that MLflow would put into a second file.
    heavy = REPOSITORY / "tests" / "models" / "mlp.onnx"
    with mlflow.start_run() as run:
        second = foretell.log_model(str(heavy), registered_name="whole")
    assert (second.version, second.uri) == (2, "mlflow://whole/2")
    assert stored(server, second) == heavy.read_bytes()
    assert mlflow.MlflowClient().get_model_version("whole", "2").run_id == run.info.run_id


def test_the_digest_is_that_of_what_is_stored(server: str, tmp_path: Path, made: foretell.Package) -> None:
    # A field that no release of ONNX knows, which is written in another place than it was read.
    unusual = tmp_path / "unusual.onnx"
    unusual.write_bytes(b"\xfa\x3f\x01x" + made.path.read_bytes())
    logged = foretell.log_model(unusual)
    assert logged.name == "m", "the contract's name"
    assert logged.sha256 == hashlib.sha256(stored(server, logged)).hexdigest()
    assert logged.sha256 != hashlib.sha256(unusual.read_bytes()).hexdigest()


def test_mlflow_loads_it_too(server: str, made: foretell.Package) -> None:
    logged = foretell.log_model(made, registered_name="loaded")
    model = mlflow.onnx.load_model(f"models:/{logged.name}/{logged.version}")
    assert [entry.key for entry in model.metadata_props] == ["foretell.contract"]
    shape = mlflow.models.get_model_info(f"models:/{logged.name}/{logged.version}").signature.inputs.inputs[0].shape
    assert shape == (-1, 2, 3)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a/b", "has '/' in it"),
        ("a@b", "has '@' in it"),
        ("a\nb", r"has '\n' in it"),
        ("", "has 0 bytes"),
        ("ä" * 129, "has 258 bytes"),
    ],
)
def test_a_name_that_no_uri_can_have_is_refused(name: str, said: str, server: str, made: foretell.Package) -> None:
    with pytest.raises(foretell.ForetellError, match="say registered_name") as error:
        foretell.log_model(made, registered_name=name)
    assert said in str(error.value)


def test_a_file_that_changed_is_refused(server: str, made: foretell.Package) -> None:
    foretell.package(last_value(), made.path, **arguments(version="2"))
    with pytest.raises(foretell.PackageError, match="has changed since"):
        foretell.log_model(made, registered_name="changed")
    made.path.write_bytes(b"")
    with pytest.raises(foretell.PackageError, match="no graph"):
        foretell.log_model(made.path, registered_name="changed")
    assert "changed" not in registered()


@pytest.mark.parametrize(("place", "said"), [("sqlite:///{}/m.db", "set to sqlite"), ("{}/runs", "set to a folder")])
def test_a_store_that_is_no_server_is_refused(
    place: str, said: str, server: str, made: foretell.Package, tmp_path: Path
) -> None:
    mlflow.set_tracking_uri(place.format(tmp_path))
    with pytest.raises(foretell.ForetellError, match=said):
        foretell.log_model(made)
    assert list(tmp_path.iterdir()) == [made.path], "nothing is made there"
    mlflow.set_tracking_uri(server)
    mlflow.set_registry_uri("http://127.0.0.1:9")
    with pytest.raises(foretell.ForetellError, match="registry is another server"):
        foretell.log_model(made)


def test_artifacts_that_workers_do_not_reach_are_refused(server: str, made: foretell.Package, tmp_path: Path) -> None:
    mlflow.create_experiment("local", artifact_location=f"file://{tmp_path}/artifacts")
    before = mlflow.set_experiment("Default")
    mlflow.set_experiment("local")
    try:
        with pytest.raises(foretell.ForetellError, match="nothing is registered"):
            foretell.log_model(made, registered_name="local")
    finally:
        mlflow.set_experiment(experiment_id=before.experiment_id)
    assert "local" not in registered()


def test_without_mlflow_it_says_what_to_install(made: foretell.Package, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ImportError, match=r"needs mlflow, .* pip install 'foretell\[mlflow\]'"):
        foretell.log_model(made)


@pytest.mark.parametrize("model", ["linear", "torch"])
def test_the_example_trains_logs_and_gives_an_alias(model: str, server: str) -> None:
    if model == "torch":
        pytest.importorskip("torch")
    environment: dict[str, Any] = os.environ | {"MLFLOW_TRACKING_URI": server}
    command = [sys.executable, EXAMPLE, "--model", model, "--alias", model]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    version = mlflow.MlflowClient().get_model_version_by_alias("meters", model)
    assert done.stdout.splitlines() == [
        f"uri:    mlflow://meters/{version.version}",
        f"sha256: {version.tags['foretell.sha256']}",
        f"alias:  mlflow://meters@{model}",
    ]
