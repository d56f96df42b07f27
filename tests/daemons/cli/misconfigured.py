"""A place where everything is well, and the ways to spoil one thing of it: real files, real services on loopback."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import yaml

from sliceward.daemons import topics
from sliceward.daemons.wire import Wire
from tests.services import servers
from tests.services.processes import need_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from tests.services.servers import Service

WEBHOOK_SECRET = "whsec_" + "c2xpY2V3YXJkLWNoZWNrLXRlc3Q" + "x" * 9
TOKEN = "t" * 32


@dataclass(frozen=True)
class Answers:
    """What a small HTTP server says: path -> status and JSON; ``behind``: how far its clock is behind."""

    paths: dict[str, tuple[int, Any]] = field(default_factory=dict)
    behind: timedelta = timedelta(0)
    otherwise: int = 404


@contextmanager
def an_http_server(answers: Answers) -> Iterator[str]:
    """Serve on a free loopback port; gives the address."""

    class Handler(BaseHTTPRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            del timestamp
            return format_datetime(datetime.now(UTC) - answers.behind, usegmt=True)

        def log_message(self, *_words: object) -> None:
            pass

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = answers.paths.get(self.path.partition("?")[0], (answers.otherwise, {}))
            raw = b"" if self.command == "HEAD" else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_HEAD = _answer  # noqa: N815 (the library's names)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
API_SERVER = {"/version": (200, {"gitVersion": "v1.36.3"}), REVIEWS: (201, {"status": {"allowed": True}})}


def a_kubeconfig(folder: Path, server: str, *, token: str = "") -> Path:
    """Write a kubeconfig with one context, ``here``."""
    body = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "k", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": token} if token else {}}],
        "contexts": [{"name": "here", "context": {"cluster": "k", "user": "u"}}],
        "current-context": "here",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(body))
    return path


def say_alive(url: str, cluster: str, *, gone: str = "") -> None:
    """Leave a watcher's last word at a broker."""
    word: dict[str, Any] = {"online": False, "why": gone} if gone else {"online": True, "at": datetime.now(UTC).isoformat()}

    async def tell() -> None:
        wire = Wire(url, client_id=f"watcher-of-{cluster}")
        told = asyncio.Event()

        async def greet() -> None:
            await wire.publish(topics.watcher(cluster), json.dumps(word).encode(), retain=True)
            told.set()

        running = asyncio.create_task(wire.run(lambda _message: None, greet))
        async with asyncio.timeout(10):
            await told.wait()
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(tell())


def a_certificate(folder: Path, name: str, *, passphrase: str = "") -> Path:
    """Make a self-signed certificate for 127.0.0.1; its key lies beside it with ``.key``, encrypted where there is a passphrase."""
    made = folder / f"{name}.crt"
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"]
    words += ["-passout", f"pass:{passphrase}"] if passphrase else ["-nodes"]
    words += ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    words += ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    words += ["-keyout", str(made.with_suffix(".key")), "-out", str(made)]
    subprocess.run([need_program("openssl"), *words], check=True, capture_output=True)  # noqa: S603 (found above)
    made.with_suffix(".key").chmod(0o644)
    return made


def tls_lines(certificate: Path) -> tuple[str, ...]:
    """Give the lines with which Mosquitto speaks TLS."""
    return f"certfile {certificate}", f"keyfile {certificate.with_suffix('.key')}"


@dataclass
class Place:
    """Everything is well here. ``environ``: what is set beside the files; ``whole``: the coordinator's file as a value."""

    folder: Path
    request: pytest.FixtureRequest
    stack: ExitStack
    whole: dict[str, Any]
    environ: dict[str, str] = field(default_factory=dict)
    text: str = ""
    others: tuple[str, ...] = ()

    @property
    def cluster(self) -> dict[str, Any]:
        found: dict[str, Any] = self.whole["clusters"][0]
        return found

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    def http(self, answers: Answers) -> str:
        return self.stack.enter_context(an_http_server(answers))

    def mosquitto(self, *lines: str) -> Service:
        (self.folder / "mosquitto").mkdir()
        return self.stack.enter_context(servers.mosquitto(self.folder / "mosquitto", lines=lines))

    def api_server(self, answers: Answers) -> None:
        self.cluster["kubeconfig"] = str(a_kubeconfig(self.folder, self.http(answers)))

    def pager(self, url: str, text: str = WEBHOOK_SECRET) -> None:
        self.whole["pagers"] = [{"name": "chat", "kind": "webhook", "url": url, "secret": {"file": self.file("hook", text)}}]

    def arguments(self) -> list[str]:
        return ["--coordinator", self.file("coordinator.yaml", self.text or yaml.safe_dump(self.whole)), *self.others]
