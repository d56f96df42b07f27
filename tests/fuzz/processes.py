"""Daemons as processes, with the questions that tell whether they took harm."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fuzz.ground import CLUSTER, PATIENCE, Ground, until
from tests.services.processes import answers, free_port, server

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
ROOM = 128 << 20
"""Bytes by which a process may grow under all of a module's input: arrays for hosts that spoke, caches, what allocators keep.

A leak of each input does more: the large ones of a module alone are several times as much.
"""
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(repr=False)
class Daemon:
    """A process of ours: what it says of itself by HTTP, its log, its memory."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    room: int = ROOM
    _read: int = 0
    _lines: list[Json] = field(default_factory=list)
    _at_first: int = 0

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def sees_all(self) -> bool:
        """Whether all that readiness tells of answers; a coordinator is ready before it does."""
        status, body = self.get("/readyz")
        return status == 200 and all(need["ok"] for need in json.loads(body)["dependencies"])

    def json(self, path: str) -> Json:
        status, body = self.get(path)
        assert status == 200, body
        found: Json = json.loads(body)
        return found

    def counts(self, family: str, label: str = "outcome") -> dict[str, float]:
        """Give the samples of one counter by one of its labels, summed over the others."""
        found: dict[str, float] = {}
        for line in self.get("/metrics")[1].decode().splitlines():
            name, _, rest = line.partition("{")
            if name == family:
                labels, _, value = rest.rpartition("} ")
                key = labels.partition(f'{label}="')[2].partition('"')[0]
                found[key] = found.get(key, 0.0) + float(value)
        return found

    def told(self) -> list[Json]:
        """Give every line of the log so far."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole, end, _ = new.rpartition(b"\n")
        self._read += len(whole) + len(end)
        self._lines += [json.loads(line) for line in whole.splitlines()]
        return self._lines

    def says(self, event: str, where: str) -> Json:
        """Give the line that complains about ``where``, which must say what is wrong and what to do."""
        found: list[Json] = []

        def there() -> bool:
            found[:] = [line for line in self.told() if line.get("event") == event and line.get("where") == where]
            return bool(found)

        until(there, f"{event!r} about {where}")
        line = found[0]
        assert line["level"] == "warning"
        assert line["why"].strip(), line
        assert line["what_to_do"].strip(), line
        return line

    @property
    def memory(self) -> int:
        """Bytes that are resident."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE

    def open_sockets(self) -> int:
        """How many sockets it holds, of all kinds."""
        links = list(Path(f"/proc/{self.process.pid}/fd").iterdir())
        return sum(link.is_symlink() and _target(link).startswith("socket:") for link in links)

    def unharmed(self) -> None:
        """Say that it is the same process as before, goes round, met nothing unforeseen, and has not swollen."""
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        status, body = self.get("/healthz")
        assert status == 200, body
        assert [line for line in self.told() if "exception" in line or line["level"] in ("error", "critical")] == []
        assert self.memory - self._at_first < self.room, (
            f"{self.name} grew from {self._at_first >> 20} to {self.memory >> 20} MiB"
        )

    def begin(self) -> None:
        self._at_first = self.memory


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""  # closed since


@contextmanager
def a_daemon(ground: Ground, name: str, port: int, whole: Mapping[str, Any], *, folder_name: str = "") -> Iterator[Daemon]:
    """Run one until the block ends; by then it must not have taken harm."""
    folder = ground.folder / (folder_name or name)
    folder.mkdir()
    (folder / "settings.yaml").write_text(json.dumps(whole))  # JSON is YAML without aliases
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / ".types"), "HOME": str(folder)}
    command = [sys.executable, "-m", "sliceward.daemons.cli", name, "--config", str(folder / "settings.yaml")]
    with server(command, folder=folder, ready=answers(f"http://127.0.0.1:{port}/healthz"), environ=environ) as process:
        daemon = Daemon(name, process, port, folder / "log")
        daemon.begin()
        yield daemon
        daemon.unharmed()


LOG = {"level": "info", "format": "json"}


@contextmanager
def a_watcher(ground: Ground) -> Iterator[Daemon]:
    port = free_port()
    whole = {
        "cluster": {"name": CLUSTER, "kubeconfig": ground.kubeconfig("watcher"), "broker": {"url": ground.broker}},
        "panel": {"period": "1s"},
        "rules": {"warm_up": "1s"},
        "health": {"port": port},
        "log": LOG,
    }
    with a_daemon(ground, "watcher", port, whole) as daemon:
        until(daemon.sees_all, "a watcher that is ready")
        yield daemon


@contextmanager
def a_coordinator(ground: Ground, *, folder_name: str = "coordinator", **more: Any) -> Iterator[Daemon]:  # noqa: ANN401 (sections of a configuration)
    port = free_port()
    whole = {
        "clusters": [{"name": CLUSTER, "kubeconfig": ground.kubeconfig("coordinator"), "broker": {"url": ground.broker}}],
        "store": {"url": f"sqlite:///{ground.folder / folder_name}.db"},
        "api": {"port": port},
        "pace": {"decide_every": "200ms", "broker_grace": "1s"},
        "log": LOG,
        **more,
    }
    with a_daemon(ground, "coordinator", port, whole, folder_name=folder_name) as daemon:
        until(daemon.sees_all, "a coordinator that sees all")
        yield daemon
