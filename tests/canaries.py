"""Words that stand in the place of secrets, so that a test can look where they turn up; and servers that throw back what they get."""

from __future__ import annotations

import base64
import json
import re
import secrets
import types
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin
from urllib.parse import quote, quote_plus

from pydantic import BaseModel

from sliceward.daemons.settings import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORTEST_PIECE = 8
"""Characters: a piece of a secret that is shorter may turn up by chance, and gives nothing away."""


@dataclass
class Canaries:
    """``words``: what each secret is, by the name of its place."""

    words: dict[str, str] = field(default_factory=dict)

    def plain(self, name: str) -> str:
        """Plant a word that fits everywhere."""
        return self._kept(name, f"c4n4ry-{secrets.token_hex(12)}")

    def awkward(self, name: str) -> str:
        """Plant a word that must be quoted in addresses, and breaks them where it is not."""
        return self._kept(name, f"{secrets.token_hex(6)}/{secrets.token_hex(6)}@{secrets.token_hex(6)}:{secrets.token_hex(6)}#%z")

    def routing_key(self, name: str) -> str:
        """Plant 32 letters and digits."""
        return self._kept(name, secrets.token_hex(16))

    def signing(self, name: str) -> str:
        """Plant a secret that signs."""
        return self._kept(name, "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode())

    def in_text(self, text: str) -> set[str]:
        """Give the names of the places whose word, or a piece of it, stands in a text in any form."""
        return {name for name, word in self.words.items() if any(form in text for form in _forms(word))}

    def _kept(self, name: str, word: str) -> str:
        self.words[name] = word
        return word


def _forms(word: str) -> set[str]:
    bare = word.removeprefix("whsec_")
    pieces = {piece for piece in re.split(r"[/@:#%\s]", bare) if len(piece) >= SHORTEST_PIECE}
    whole = {word, bare, quote(word, safe=""), quote_plus(word), json.dumps(word)[1:-1], repr(word)[1:-1]}
    # The last is how HTTP shows the user ``me`` with this password.
    encoded = {base64.b64encode(text.encode()).decode().rstrip("=") for text in (word, bare, f"me:{word}")}
    return pieces | whole | encoded


def secret_keys(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Give the path of every key of a model that holds a secret; ``[]`` stands for any member."""
    for name, one in model.model_fields.items():
        for kind in _kinds(one.annotation):
            many = get_origin(kind) in (list, tuple)
            inner = get_args(kind)[0] if many else kind
            here = f"{path}.{name}{'[]' if many else ''}".lstrip(".")
            if inner is Secret:
                yield here
            elif isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from secret_keys(inner, here)


def _kinds(annotation: Any) -> list[Any]:  # noqa: ANN401 (type forms)
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [kind for arg in get_args(annotation) for kind in _kinds(arg)]
    return [annotation]


@contextmanager
def a_parrot(status: int) -> Iterator[tuple[str, list[str]]]:
    """Serve HTTP that says no and throws back all it got: path, headers, body. Gives the address, and what was heard."""
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_words: object) -> None:
            pass

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(errors="replace")
            text = f"{self.path} {dict(self.headers.items())} {body}"
            heard.append(text)
            # As an API server, a pager and a mere web server would say it.
            raw = json.dumps({"kind": "Status", "reason": text, "message": text, "error": text, "text": text}).encode()
            self.send_response(status, text.replace("\r", "").replace("\n", " ")[:500])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_HEAD = do_PATCH = _answer  # noqa: N815 (the library's names)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", heard
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
