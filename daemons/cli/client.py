"""How the client commands speak to the coordinator: HTTP API of docs/api.md, token by file, errors with cause and next step.

Exit codes of every client command: 0 all well, 1 asked and something is wrong, 2 could not ask.
"""

from __future__ import annotations

import asyncio
import functools
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import click

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

DEFAULT_SERVER = "http://127.0.0.1:8482"
PATIENCE = aiohttp.ClientTimeout(total=15)
MOST_ROWS = 500


class CannotAsk(click.ClickException):
    """The coordinator did not answer, or does not let us ask: says why and what to do."""

    exit_code = 2

    def __init__(self, why: str, what_to_do: str) -> None:
        """Keep one line for the cause and one for the next step."""
        super().__init__(f"{why}\n  {what_to_do}")


class SaidNo(CannotAsk):
    """The coordinator understood and said no: there is no such thing, or it cannot be done now."""

    exit_code = 1


NOES = frozenset({404, 409})


@dataclass(frozen=True, slots=True)
class Client:
    """One coordinator. ``token_file`` is read at each call, so that a rotated token is used at once."""

    server: str
    token_file: Path | None

    def get(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 (JSON)
        """Give the JSON at ``/api/v1/{path}``."""
        return asyncio.run(self._call("GET", path, parameters=parameters))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:  # noqa: ANN401 (JSON)
        """Send ``body`` to ``/api/v1/{path}`` and give the JSON that comes back."""
        return asyncio.run(self._call("POST", path, body=body))

    def text(self, path: str) -> str:
        """Give the text at ``/{path}``: metrics and health, whatever the status says."""
        return asyncio.run(self._text(f"{self.server.rstrip('/')}/{path}"))

    def rows(self, path: str, *, limit: int, **filters: str) -> list[dict[str, Any]]:
        """Give the rows of a list, page after page, up to ``limit``."""
        found: list[dict[str, Any]] = []
        after = ""
        while len(found) < limit:
            page = self.get(path, limit=str(min(MOST_ROWS, limit - len(found))), **({"after": after} if after else {}), **filters)
            found += page["items"]
            after = page.get("next") or ""
            if not after:
                break
        return found

    async def _call(
        self, method: str, path: str, *, parameters: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> Any:  # noqa: ANN401 (JSON)
        url = f"{self.server.rstrip('/')}/api/v1/{path}"
        async with self._session() as session, session.request(method, url, params=parameters, json=body) as answer:
            return self._read(answer.status, await answer.text(), url)

    async def _text(self, url: str) -> str:
        async with self._session() as session, session.get(url) as answer:
            return await answer.text()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Give a session that shows the token; what goes wrong on the way is `CannotAsk`."""
        try:
            async with aiohttp.ClientSession(timeout=PATIENCE, headers=self._headers()) as session:
                yield session
        except aiohttp.InvalidURL as error:
            raise CannotAsk(
                f"{self.server!r} is no address", "Name it with --server or SLICEWARD_SERVER, e.g. http://127.0.0.1:8482"
            ) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CannotAsk(
                f"the coordinator at {self.server} does not answer: {error or 'no answer in 15 s'}",
                "Is it running? Name another one with --server or SLICEWARD_SERVER; `sliceward check --coordinator FILE` looks at what it needs.",
            ) from error

    def _headers(self) -> dict[str, str]:
        if self.token_file is None:
            return {}
        help_ = "Name it with --token-file or SLICEWARD_TOKEN_FILE."
        try:
            token = self.token_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise CannotAsk(f"token file {self.token_file}: {error.strerror}", help_) from error
        except UnicodeDecodeError as error:
            raise CannotAsk(f"token file {self.token_file} holds no text", help_) from error
        if not token or any(not "!" <= character <= "~" for character in token):
            raise CannotAsk(f"token file {self.token_file} holds no token: one line of printable characters", help_)
        return {"Authorization": f"Bearer {token}"}

    def _read(self, status: int, text: str, url: str) -> Any:  # noqa: ANN401 (JSON)
        try:
            answer = json.loads(text)
        except ValueError as error:
            raise CannotAsk(
                f"{url} answered {status} without JSON", "Is this the coordinator's address, and not a proxy's?"
            ) from error
        if status < 400:  # noqa: PLR2004 (HTTP)
            return answer
        problem = answer.get("error", {}) if isinstance(answer, dict) else {}
        kind = SaidNo if status in NOES else CannotAsk
        raise kind(
            f"{problem.get('code', status)}: {problem.get('why', 'the coordinator refused')}",
            problem.get("what_to_do") or "See the coordinator's log.",
        )


def with_client(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that name the coordinator, and a `Client` as its first argument."""

    @click.option(
        "--server", envvar="SLICEWARD_SERVER", default=DEFAULT_SERVER, show_default=True, help="Address of the coordinator."
    )
    @click.option(
        "--token-file", envvar="SLICEWARD_TOKEN_FILE", type=click.Path(path_type=Path), help="File that holds the token."
    )
    @functools.wraps(command)
    def wrapped(*args: object, server: str, token_file: Path | None, **options: object) -> None:
        command(Client(server, token_file), *args, **options)

    return wrapped
