"""How each real service is started. Context managers, for tests that want an instance of their own; see fixtures.py for the rest."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.services.processes import PATIENCE, accepts, answers, find_program, free_port, need_program, need_services, server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HERE = Path(__file__).resolve().parent
CONTROL_PLANE = HERE / "controlplane"
POSTGRES_FOLDERS = tuple(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))


@dataclass(frozen=True, slots=True)
class Service:
    """A server that answers: ``url`` has scheme, host and port; ``folder`` holds its files and ``log``."""

    url: str
    port: int
    folder: Path


def _is_root() -> bool:
    return os.geteuid() == 0


@contextmanager
def mosquitto(folder: Path, *, port: int = 0, lines: Sequence[str] = ()) -> Iterator[Service]:
    """Run a Mosquitto. ``lines`` are added to its configuration; with ``password_file`` among them nobody is anonymous."""
    program = need_program("mosquitto", variable="SLICEWARD_MOSQUITTO")
    port = port or free_port()
    anonymous = not any(line.startswith("password_file") for line in lines)
    settings = [
        f"listener {port} 127.0.0.1",
        f"allow_anonymous {str(anonymous).lower()}",
        "persistence false",
        *(["user root"] if _is_root() else []),
        *lines,
    ]
    (folder / "mosquitto.conf").write_text("\n".join(settings) + "\n", encoding="utf-8")
    with server([program, "-c", folder / "mosquitto.conf"], folder=folder, ready=accepts(port)):
        yield Service(f"mqtt://127.0.0.1:{port}", port, folder)


@contextmanager
def prometheus(folder: Path, *, config: str, port: int = 0) -> Iterator[Service]:
    """Run a Prometheus with this configuration (YAML text; intervals down to 1s); the same folder and port again is it come back."""
    program = need_program("prometheus", variable="SLICEWARD_PROMETHEUS")
    port = port or free_port()
    (folder / "prometheus.yaml").write_text(config, encoding="utf-8")
    command = [
        program,
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--web.enable-lifecycle",
    ]
    with server(command, folder=folder, ready=answers(f"http://127.0.0.1:{port}/-/ready")):
        yield Service(f"http://127.0.0.1:{port}", port, folder)


@contextmanager
def alertmanager(folder: Path, *, config: str) -> Iterator[Service]:
    """Run an Alertmanager with this configuration (YAML text); no gossip."""
    program = need_program("prometheus-alertmanager", "alertmanager", variable="SLICEWARD_ALERTMANAGER")
    port = free_port()
    (folder / "alertmanager.yaml").write_text(config, encoding="utf-8")
    command = [
        program,
        f"--config.file={folder / 'alertmanager.yaml'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        f"--storage.path={folder / 'data'}",
    ]
    with server(command, folder=folder, ready=answers(f"http://127.0.0.1:{port}/-/ready")):
        yield Service(f"http://127.0.0.1:{port}", port, folder)


@contextmanager
def postgres(folder: Path, *, settings: Sequence[str] = ("fsync=off",), port: int = 0) -> Iterator[Service]:
    """Run a PostgreSQL with role ``sliceward`` (superuser, trust). It refuses root, so root runs it as ``postgres``.

    The same folder and port again is the same server come back, with all that it held.
    """
    bins = (os.environ["PGBIN"],) if os.environ.get("PGBIN") else POSTGRES_FOLDERS
    initdb, program = need_program("initdb", folders=bins), need_program("postgres", folders=bins)
    switch: list[str] = []
    if _is_root():
        switch = [need_program("setpriv"), "--reuid=postgres", "--regid=postgres", "--init-groups", "--"]
        _make_reachable(folder)
        shutil.chown(folder, "postgres", "postgres")
    port, data = port or free_port(), folder / "data"
    if not data.exists():
        command = [*switch, initdb, "-A", "trust", "-U", "sliceward", "--no-sync", "-D", str(data)]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)  # noqa: S603 (found above)
    options = [
        word for line in ("listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", *settings) for word in ("-c", line)
    ]
    with server([*switch, program, "-D", data, "-p", str(port), *options], folder=folder, ready=_postgres_ready(port, bins)):
        yield Service(f"postgresql+asyncpg://sliceward@127.0.0.1:{port}/postgres", port, folder)


def _make_reachable(folder: Path) -> None:
    """Let another user walk to ``folder`` (pytest makes its temporary folders 0700); stops at the system's own."""
    for parent in folder.parents:
        if parent.stat().st_uid != os.geteuid() or parent.stat().st_mode & 0o001:
            break
        parent.chmod(parent.stat().st_mode | 0o011)


def _postgres_ready(port: int, bins: Sequence[str | Path]) -> Callable[[], bool]:
    isready = need_program("pg_isready", folders=bins)

    def asked() -> bool:
        return subprocess.run([isready, "-q", "-h", "127.0.0.1", "-p", str(port)], check=False).returncode == 0  # noqa: S603 (found beside the server)

    return asked


def control_plane_programs() -> Path:
    """Give the folder with kube-apiserver, etcd, kubectl and the rest, or skip. See controlplane/README.md."""
    need_services()
    if named := os.environ.get("TEST_ASSET_KUBE_APISERVER"):
        return Path(named).parent
    where = subprocess.run([CONTROL_PLANE / "build", "--where"], check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603 (a script of this folder)
    if not (Path(where) / "complete").exists():
        pytest.skip("no kube-apiserver (run tests/services/controlplane/build, or set TEST_ASSET_KUBE_APISERVER)")
    return Path(where)


@contextmanager
def control_plane(folder: Path, *, kubelets: bool = True, node_grace: int | None = None) -> Iterator[Path]:
    """Run etcd, API server, controller manager and scheduler, with fake kubelets if wanted; gives the kubeconfig.

    ``node_grace``: seconds for which a silent node still counts as Ready; None is Kubernetes' own default.
    """
    programs = control_plane_programs()
    need_program("openssl"), need_program("curl")
    environ = {**os.environ, "CONTROLPLANE_BIN": str(programs), "KWOK": "1" if kubelets else "0"}
    environ |= {"NODE_GRACE": str(node_grace)} if node_grace is not None else {}
    started = subprocess.run([CONTROL_PLANE / "up", folder], check=False, capture_output=True, text=True, env=environ)  # noqa: S603 (as above)
    try:
        if started.returncode:
            pytest.fail(f"the control plane did not start:\n{started.stderr[-2000:]}", pytrace=False)
        yield folder / "kubeconfig"
    finally:
        subprocess.run([CONTROL_PLANE / "down", folder], check=False, capture_output=True)  # noqa: S603 (as above)


def end_api_server(folder: Path) -> None:
    """End the API server of the control plane in this folder as a crash does; etcd and all else go on without it.

    A polite end waits for every open watch, up to a minute.
    """
    pid = int((folder / "kube-apiserver.pid").read_text(encoding="utf-8"))
    (folder / "kube-apiserver.words").write_bytes(Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(pid, signal.SIGKILL)
    stat, end = Path(f"/proc/{pid}/stat"), time.monotonic() + PATIENCE
    while stat.exists() and ") Z " not in stat.read_text(encoding="utf-8") and time.monotonic() < end:
        time.sleep(0.05)


def let_history_go_on(folder: Path) -> None:
    """Write to etcd past the API server: what the last of its watchers was told is then older than what it lists when it is back."""
    words = _words(folder)
    etcd = words[words.index("--etcd-servers") + 1]
    key = base64.b64encode(b"/beside/kubernetes").decode()
    request = urllib.request.Request(  # noqa: S310 (on loopback, as `up` said)
        f"{etcd}/v3/kv/put", json.dumps({"key": key, "value": key}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 (as above)
        assert answer.status == 200


def _words(folder: Path) -> list[str]:
    return (folder / "kube-apiserver.words").read_text(encoding="utf-8").split("\0")[:-1]


def start_api_server(folder: Path) -> None:
    """Start it again with the same words, as ``up`` did. It has forgotten what it told its watchers."""
    words = _words(folder)
    detach = 'nohup "$@" >>kube-apiserver.log 2>&1 & echo $! >kube-apiserver.pid'
    subprocess.run(["sh", "-c", detach, "sh", *words], cwd=folder, check=True)  # noqa: S603, S607 (words of our own script)


def kubectl() -> str:
    """Give kubectl: by TEST_ASSET_KUBECTL, the one built with the control plane, or the one on PATH; else skip."""
    need_services()
    built = (
        os.environ.get("TEST_ASSET_KUBECTL")
        or subprocess.run(  # noqa: S603 (a script of ours)
            [CONTROL_PLANE / "build", "--where"], check=True, capture_output=True, text=True
        ).stdout.strip()
        + "/kubectl"
    )
    if Path(built).exists():
        return built
    return need_program("kubectl", variable="TEST_ASSET_KUBECTL")


def chromium() -> str:
    """Give Chromium's path, for playwright's ``executable_path``; else skip."""
    need_services()
    found = find_program("chromium", "chromium-browser", "google-chrome", variable="SLICEWARD_CHROMIUM")
    if found is None:
        pytest.skip("no chromium on PATH")
    return found
