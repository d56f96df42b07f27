"""Requests over HTTP that no client makes, at a coordinator that runs: each is answered and counted, or waits without harm."""

from __future__ import annotations

import base64
import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.ground import FUZZ, also, until
from tests.fuzz.http_client import Answer, connect, exchange, read, send, speaks
from tests.fuzz.junk import JUNK, broken_bytes
from tests.fuzz.processes import a_coordinator

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from tests.fuzz.ground import Ground
    from tests.fuzz.processes import Daemon
    from tests.services.servers import Service

END = "\r\n"
SOON = 0.05
"""Seconds after which a connection without an answer is left hanging while others are served."""
LISTS = (
    "fleet", "status", "incidents", "findings", "hosts", "cubes", "slices", "gangs", "links", "quota", "alerts", "playbooks",
    "pages", "loops", "audit", "silences", "windows", "configuration",
)  # fmt: skip
PATHS = (
    "/", "/healthz", "/readyz", "/metrics", "/index.html", *(f"/api/v1/{kind}" for kind in LISTS), "/api/v1/incidents/inc-0a1b2c3d4e",
    "/api/v1/incidents/inc-0a1b2c3d4e/plan", "/api/v1/incidents/inc-0a1b2c3d4e/approve", "/api/v1/incidents/x/abort",
    "/api/v1/silences/s-1/end", "/v1/webhooks/alertmanager/main",
)  # fmt: skip
ODD = (
    "..", "%2e%2e%2f", "%00", "%ff", "%", "%zz", "//", "\\", "{id}", "*", "'; DROP TABLE incidents --", "%F0%9F%98%80", "a" * 4000, "A" * 7900,
)  # fmt: skip
LINES = (
    "X: y", "Host: evil.example", "Host:", "Content-Length: -1", "Content-Length: 99999999999999999999", "Content-Length: 1, 2",
    "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Expect: 100-continue", "Expect: 200-ok", "Upgrade: websocket",
    "Connection: upgrade", "Authorization: Bearer x", "Authorization: Basic ====", "Origin: http://evil.example", "Origin: null",
    "Range: bytes=0-0,-1", "Range: bytes=9-1", "If-None-Match: *", "If-Modified-Since: never", "Last-Event-ID: 99999999999999999999",
    "Last-Event-ID: -1", "Accept-Encoding: nonsense;q=9", "Cookie: a=b; ; =; x", "X-Y: " + "z" * 9000, "no colon", " folded: y", "\x01: y",
    "X: \x01", "Content-Type: application/json; charset=nonsense", "Content-Encoding: gzip",
)  # fmt: skip
METHODS = (
    "GET",
    "GET",
    "GET",
    "POST",
    "POST",
    "HEAD",
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "BREW",
    "get",
    "",
)
VALID = (
    b"POST /api/v1/incidents/inc-0a1b2c3d4e/abort?x=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b'Content-Length: 21\r\nConnection: close\r\n\r\n{"reason": "a storm"}'
)


def a_get(path: str, *lines: str) -> bytes:
    return END.join((f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *lines, END)).encode()


def a_post(path: str, body: str) -> bytes:
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body.encode())}",
        END,
    )
    return END.join(lines).encode() + body.encode()


FAR = base64.urlsafe_b64encode(b"9" * 40).decode().rstrip("=")
"""A cursor that no store counts to."""
WHY = json.dumps({"reason": "why"})
ONCE_BROKE = (
    *(a_get(f"/api/v1/{kind}?after={FAR}") for kind in ("incidents", "pages", "audit", "alerts", "silences")),
    a_get(f"/api/v1/events?after={'9' * 40}"),
    a_get("/api/v1/events", f"Last-Event-ID: {'9' * 40}"),
    a_get(f"/api/v1/audit?limit={'1' * 5_000}"),
    a_get("/api/v1/incidents?after=%%%"),
    a_get("/api/v1/incidents?after=_w"),
    a_get("/api/v1/incidents/a%00b"),
    a_get("/api/v1/incidents/%ED%A0%80"),
    a_get("/api/v1/alerts?receiver=a%00b"),
    *(a_post(f"/api/v1/{path}", WHY) for path in ("incidents/a%00b/approve", "incidents/a%00b/abort", "silences/a%00b/end")),
    *(a_post(f"/api/v1/incidents/{'x' * 300}/{what}", WHY) for what in ("approve", "abort")),
    *(a_post("/api/v1/pause", json.dumps({"reason": f"a{odd}b"})) for odd in ("\0", "\ud800")),
    *(a_post("/api/v1/incidents/inc-0a1b2c3d4e/abort", json.dumps({"reason": f"a{odd}b"})) for odd in ("\0", "\ud800")),
    a_post("/api/v1/silences", json.dumps({"reason": "a\0b", "matches": {"hosts": ["a\0b"]}, "for": "1h"})),
    a_post("/api/v1/silences", "[" * 100_000),
)
"""Names and numbers that PostgreSQL refuses and SQLite does not, and what neither keeps."""


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Requests with a method, a path, a query, headers and a body that may each be odd."""
    method, path = draw(st.sampled_from(METHODS)), draw(st.sampled_from(PATHS))
    if draw(st.integers(0, 2)) == 0:
        place = draw(st.integers(0, path.count("/")))
        parts = path.split("/")
        path = "/".join((*parts[:place], draw(st.sampled_from(ODD)), *parts[place + draw(st.integers(0, 1)) :]))
    if draw(st.booleans()):
        words = (
            st.sampled_from(("limit", "after", "cluster", "id", "state", "x", "")),
            st.sampled_from(
                (
                    "",
                    "0",
                    "1",
                    "-1",
                    "501",
                    "99999999999999999999",
                    "NaN",
                    "MTIz",
                    "OTk5OTk5OTk5OTk5OTk5OTk5OTk5",
                    "MQBi",
                    "1" * 4400,
                    *ODD,
                )
            ),
        )
        path += "?" + "&".join(f"{key}={value}" for key, value in draw(st.lists(st.tuples(*words), max_size=3)))
    lines = ["Host: 127.0.0.1", *draw(st.lists(st.sampled_from(LINES), max_size=2))]
    body = b""
    if method not in ("GET", "HEAD"):
        body = json.dumps(draw(st.just({"reason": "why"}) | JUNK)).encode()
        lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
    return f"{method} {path} HTTP/1.1\r\n{END.join(lines)}\r\n\r\n".encode("latin-1", "replace") + body


@dataclass
class Sender:
    """Who asks. ``hanging``: connections that got no answer yet, since their request is not whole."""

    daemon: Daemon
    hanging: ExitStack
    doors: list[socket.socket] = field(default_factory=list)
    before: dict[str, float] = field(default_factory=dict)

    def counts(self) -> dict[str, float]:
        """Give the answers so far but those to who asks for the counts."""
        self.before = self.daemon.counts("sliceward_http_requests_total", "code")
        return self.before

    def send(self, request: bytes) -> Answer | None:
        """Ask; an answer is counted and says why where it is a no."""
        before = self.before or self.counts()
        door = self.hanging.enter_context(connect(self.daemon.port))
        send(door, [request])
        if not speaks(door, within=SOON):
            self.doors.append(door)
            return None
        with door:
            answer = read(door, bodyless=request[:5].upper() == b"HEAD ")
        if answer.status == 0:
            return None  # it hung up on what was no request
        assert answer.status != 500, answer
        if answer.status >= 400 and answer.body:
            self.judge(answer)
        code, asked = str(answer.status), 1
        # Asking for the counts is an answer too, seen the next time.
        assert self.counts().get(code, 0) >= before.get(code, 0) + asked + (code == "200")
        return answer

    def judge(self, answer: Answer) -> None:
        if "json" in answer.head:
            answer.problem()
        else:
            assert answer.status in (400, 417), (
                answer
            )  # of the server itself: it tells the place in the line, or what it cannot expect
            assert 0 < len(answer.body.strip()) < 20_000


@pytest.fixture(scope="module", params=["SQLite", "PostgreSQL"])
def sender(request: pytest.FixtureRequest, ground: Ground) -> Iterator[Sender]:
    """Over both kinds of store: what one takes as it is, the other refuses."""
    with ExitStack() as stack:
        more: dict[str, object] = {}
        if request.param == "PostgreSQL":
            server: Service = request.getfixturevalue("postgres_server")
            more["store"] = {"url": server.url.replace("postgresql+asyncpg", "postgresql")}
        daemon = stack.enter_context(a_coordinator(ground, folder_name=f"coordinator-{request.param}", **more))
        yield Sender(daemon, stack.enter_context(ExitStack()))


@FUZZ
@also(request=ONCE_BROKE)
@given(request=requests())
def test_requests_that_no_client_makes(sender: Sender, request: bytes) -> None:
    sender.send(request)


@FUZZ
@given(request=broken_bytes(VALID))
def test_bytes_that_are_cut_changed_or_of_something_else(sender: Sender, request: bytes) -> None:
    sender.send(request)


def test_beside_all_that_hang_others_are_served(sender: Sender) -> None:
    """Half heads, half bodies and nothing at all, as many as one client may have."""
    for number in range(300):
        door = sender.hanging.enter_context(connect(sender.daemon.port))
        send(door, [VALID[: number % len(VALID)]])
        sender.doors.append(door)
    for path in PATHS[:10]:
        answer = exchange(sender.daemon.port, [f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()])
        assert answer.status == 200, answer


def test_a_slow_listener_of_events_costs_nothing(sender: Sender) -> None:
    for _ in range(80):
        door = sender.hanging.enter_context(connect(sender.daemon.port))
        send(door, [b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"])
        sender.doors.append(door)
    answer = exchange(sender.daemon.port, [b"GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"])
    assert answer.status == 200


@pytest.mark.parametrize("size", [9_000, 1 << 20, 16 << 20])
@pytest.mark.parametrize("place", ["path", "header", "headers"])
def test_heads_beyond_all_reason(sender: Sender, place: str, size: int) -> None:
    long = b"x" * size
    match place:
        case "path":
            request = b"GET /" + long + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        case "header":
            request = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + long + b"\r\n\r\n"
        case _:
            request = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * (size // 6) + b"\r\n"
    answer = exchange(sender.daemon.port, [request])
    assert answer.status in (0, 400, 431), answer


def test_after_all_that_a_silence_is_made_and_nothing_hangs(sender: Sender) -> None:
    sender.hanging.close()
    body = json.dumps({"reason": "work", "matches": {"hosts": ["cube-0-host-00"]}, "for": "1h"}).encode()
    head = f"POST /api/v1/silences HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = exchange(sender.daemon.port, [head.encode() + body])
    assert answer.status == 200, answer
    until(lambda: sender.daemon.open_sockets() < 60, "an end of the connections that were left")
    sender.daemon.unharmed()
