"""A connection to the database: URL in, engines out, migrated. SQLite is written by one connection at a time.

Every error of the database leaves here as `Retry`: a lost connection may have committed, so nothing is assumed. But a
value that can never be written leaves as `Unstorable`, else one text would be tried for ever and stop all that follows.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import create_async_engine

from sliceward.daemons.store.direct import Direct
from sliceward.topology.errors import Misconfigured, Refused, Retry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from sqlalchemy.engine import URL, Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

Result = TypeVar("Result")
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
MIGRATIONS = Path(__file__).parent.parent / "migrations"
_FROZEN = "6s"
"""What PostgreSQL waits for a client that says nothing in the middle of a transaction; less than a Lease lasts."""
_MIGRATING = 7_342_811  # any number, the same in all coordinators: the advisory lock of PostgreSQL during migration


class Unstorable(ValueError):
    """What was to be written can never be: whoever brought it is set aside by name, and the rest goes on."""


class Unseated(Refused):
    """Another coordinator leads: whoever hears it may neither write nor call anything any more."""


LONGEST_TURN = 30.0
"""Seconds that a write waits for those before it."""


@dataclass(frozen=True, slots=True)
class Database:
    """Engines of one database. On SQLite ``writer`` holds one connection and begins with the write lock taken, and so does ``direct``."""

    writer: AsyncEngine
    reader: AsyncEngine
    direct: Direct | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return str(self.writer.dialect.name)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Give a transaction that is committed at the end, or rolled back. Raises `Retry` and `Unstorable`."""
        with _told():
            async with self._in_turn(), self.writer.begin() as connection:
                yield connection

    async def write(self, work: Callable[[Connection], Result]) -> Result:
        """Do ``work`` in a transaction of its own, all in one go: beside the event loop where the database is SQLite.

        Raises `Retry`, `Unstorable` and what ``work`` does.
        """
        with _told():
            async with self._in_turn():
                if self.direct is not None:
                    return await self.direct.write(work)
                async with self.writer.begin() as connection:
                    return await connection.run_sync(work)

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        """Let one write after the other where two connections write to a database that takes one at a time."""
        if self.direct is None:
            yield
            return
        async with asyncio.timeout(LONGEST_TURN):
            await self._turn.acquire()
        try:
            yield
        finally:
            self._turn.release()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection that sees one state of the database. Raises `Retry`, and `Unstorable` of what nobody can ask for."""
        try:
            async with self.reader.begin() as connection:
                yield connection
        except _THEIRS as error:
            raise _ours(error) from error


@contextmanager
def _told() -> Iterator[None]:
    """Turn errors of the database into ours."""
    try:
        yield
    except _THEIRS as error:
        raise _ours(error) from error


_THEIRS = (SQLAlchemyError, OSError, TimeoutError, UnicodeEncodeError)
"""What comes out of a database. Not all of SQLAlchemy's own errors are the driver's: a pool that has no connection left is none."""


def _ours(error: BaseException) -> Retry | Unstorable:
    """Give what we say of an error of the database."""
    if _is_about_values(error):
        return Unstorable(f"the store cannot keep this: {_short(error)}")
    return Retry(f"the store did not answer: {_short(error)}")


def _is_about_values(error: BaseException) -> bool:
    """Whether it failed by what was to be written or asked for, not by the database.

    SQLAlchemy makes a plain error of asyncpg's "data exceptions" (SQLSTATE class 22, PostgreSQL's appendix A), and an
    interface error of what asyncpg could not encode, which is a ValueError beneath. What our own columns cannot turn into
    text is a statement's error that is not the driver's.
    """
    if isinstance(error, DataError | UnicodeEncodeError) or (
        isinstance(error, StatementError) and not isinstance(error, DBAPIError)
    ):
        return True
    origin = getattr(error, "orig", None)
    state = str(getattr(origin, "sqlstate", None) or "")
    return state.startswith("22") or isinstance(getattr(origin, "__cause__", None), ValueError)


def _short(error: BaseException) -> str:
    origin = getattr(error, "orig", None) or error
    return f"{type(origin).__name__}: {str(origin).splitlines()[0] if str(origin) else 'no text'}"[:300]


@asynccontextmanager
async def database(url: str) -> AsyncIterator[Database]:
    """Open and migrate the database at ``url`` (``sqlite:///PATH`` or ``postgresql://USER:PASSWORD@HOST/NAME``).

    Raises:
        Misconfigured: the URL is no such URL, or a newer sliceward wrote the database.
        Retry: the database does not answer.
    """
    parsed = parsed_url(url)
    if parsed.drivername.startswith("sqlite"):
        opened = Database(_sqlite(parsed, writer=True), _sqlite(parsed, writer=False), _direct(parsed))
    else:
        engine = _postgresql(parsed)
        opened = Database(engine, engine)
    try:
        await _first_contact(opened)
        async with opened.writing() as connection:
            await connection.run_sync(_migrate)
        yield opened
    finally:
        await opened.reader.dispose()
        await opened.writer.dispose()
        if opened.direct is not None:
            await opened.direct.close()


async def _first_contact(opened: Database) -> None:
    try:
        async with opened.reading():
            pass
    except (TypeError, ValueError) as error:
        raise unknown_parameter(error) from None


def unknown_parameter(error: Exception) -> Misconfigured:
    """Give what is told of a URL with a parameter that the driver refuses; its own words may hold the values of others."""
    why = f"has a parameter, after the question mark, that the driver does not take ({type(error).__name__})"
    return Misconfigured("store.url", why, "Leave it out; ssl=require is one that it takes")


def parsed_url(url: str) -> URL:
    """Read the URL of a store. Raises `Misconfigured`, which does not repeat it: it may hold a password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    kind = parsed.drivername.partition("+")[0] if parsed is not None else ""
    if parsed is None or kind not in _DRIVERS or (kind == "sqlite" and parsed.database in (None, "", ":memory:")):
        raise Misconfigured(
            "store.url", "is no URL of a store", "Use sqlite:////var/lib/sliceward/store.db or postgresql://USER@HOST/NAME"
        )
    if kind == "sqlite" and not Path(str(parsed.database)).expanduser().parent.is_dir():
        raise Misconfigured("store.url", f"the folder of {parsed.database} does not exist", "Make it, or name another")
    return parsed.set(drivername=_DRIVERS[kind])


def _postgresql(url: URL) -> AsyncEngine:
    engine = create_async_engine(url, pool_size=8, pool_pre_ping=True, connect_args={"timeout": 10, "command_timeout": 30})

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 (a driver's connection)
        cursor = connection.cursor()
        # Who is frozen in the middle of a write holds its locks, and no other could lead. Asked for here and not at the
        # start of the connection, where a pooler in between would refuse it.
        cursor.execute(f"SET idle_in_transaction_session_timeout = '{_FROZEN}'")
        cursor.close()
        connection.commit()

    return engine


def _sqlite(url: URL, *, writer: bool) -> AsyncEngine:
    engine = create_async_engine(url, pool_size=1 if writer else 4, max_overflow=0, connect_args={"timeout": 10})
    _prepare_sqlite(engine.sync_engine, writer=writer)
    return engine


def _direct(url: URL) -> Direct:
    engine = create_engine(url.set(drivername="sqlite"), pool_size=1, max_overflow=0, connect_args={"timeout": 10})
    _prepare_sqlite(engine, writer=True)
    return Direct(engine)


def _prepare_sqlite(engine: Engine, *, writer: bool) -> None:
    """Have transactions begun by hand; https://docs.sqlalchemy.org/en/20/dialects/sqlite.html on why."""

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 (a driver's connection)
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.execute(text("BEGIN IMMEDIATE" if writer else "BEGIN"))


def _migrate(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATING})"))
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        newest = ScriptDirectory.from_config(config).get_current_head()
        raise Misconfigured(
            "store",
            f"was written by another sliceward ({error}; this one knows {newest})",
            "Run that version, or name another store",
        ) from error
    except SQLAlchemyError as error:
        if isinstance(error, DBAPIError):
            raise
        raise Retry(f"the store could not be migrated: {error}") from error
