"""Real services as fixtures. Each is session scoped unless it says otherwise; an absent program skips by its name.

==========================  ====================================================================================
``mosquitto``               `Service` of a Mosquitto without passwords (``.url`` = ``mqtt://127.0.0.1:PORT``)
``mosquitto_runner``        function scoped: ``with mosquitto_runner(port=0, lines=()) as service`` starts another
``prometheus_runner``       function scoped: ``with prometheus_runner(config=YAML) as service``
``alertmanager_runner``     function scoped: ``with alertmanager_runner(config=YAML) as service``
``postgres_server``         `Service` of a PostgreSQL; role ``sliceward``, no password
``postgres``                function scoped: address of a new empty database, ``postgresql+asyncpg://…``
``control_plane``           path of a kubeconfig: etcd, API server, controllers, scheduler, fake kubelets (kwok)
``bare_control_plane``      as above without fake kubelets: nodes and pods are what the test makes of them
``kubectl``                 path of kubectl, of the control plane's version
``chromium``                path of Chromium for playwright; start it with `CHROMIUM_ARGS`
``crds``                    folder with CRDs (``SLICEWARD_CRDS``), or None: bring a minimal one of your own
==========================  ====================================================================================
"""

from __future__ import annotations

import os
import subprocess
import uuid
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.services import servers
from tests.services.processes import need_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from tests.services.servers import Service

CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class MosquittoRunner(Protocol):
    """Starts a Mosquitto; the same ``port`` again is the same broker come back."""

    def __call__(self, *, port: int = 0, lines: Sequence[str] = ()) -> AbstractContextManager[Service]: ...


class ConfigRunner(Protocol):
    """Starts a server with a configuration."""

    def __call__(self, *, config: str) -> AbstractContextManager[Service]: ...


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with servers.mosquitto(tmp_path_factory.mktemp("mosquitto")) as service:
        yield service


@pytest.fixture
def mosquitto_runner(tmp_path: Path) -> MosquittoRunner:
    return partial(servers.mosquitto, tmp_path)


@pytest.fixture
def prometheus_runner(tmp_path: Path) -> ConfigRunner:
    return partial(servers.prometheus, tmp_path)


@pytest.fixture
def alertmanager_runner(tmp_path: Path) -> ConfigRunner:
    return partial(servers.alertmanager, tmp_path)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with servers.postgres(tmp_path_factory.mktemp("postgres")) as service:
        yield service


@pytest.fixture
def postgres(postgres_server: Service) -> str:
    name = f"t{uuid.uuid4().hex}"
    bins = (os.environ["PGBIN"],) if os.environ.get("PGBIN") else servers.POSTGRES_FOLDERS
    createdb = need_program("createdb", folders=bins)
    where = ["-h", "127.0.0.1", "-p", str(postgres_server.port), "-U", "sliceward"]
    subprocess.run([createdb, *where, name], check=True, capture_output=True)  # noqa: S603 (found above)
    return postgres_server.url.removesuffix("postgres") + name


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with servers.control_plane(tmp_path_factory.mktemp("control-plane")) as kubeconfig:
        yield kubeconfig


@pytest.fixture(scope="session")
def bare_control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with servers.control_plane(tmp_path_factory.mktemp("bare-control-plane"), kubelets=False) as kubeconfig:
        yield kubeconfig


@pytest.fixture(scope="session")
def kubectl() -> str:
    return servers.kubectl()


@pytest.fixture(scope="session")
def chromium() -> str:
    return servers.chromium()


@pytest.fixture(scope="session")
def crds() -> Path | None:
    named = os.environ.get("SLICEWARD_CRDS", "")
    return Path(named) if named and Path(named).is_dir() else None
