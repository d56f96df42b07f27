"""A look at a store from outside, for `sliceward check`: whether it answers, may be written to, and is of this version.

Nothing in it is changed and nobody's lead is taken.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from sliceward.daemons.store.connect import MIGRATIONS, parsed_url, unknown_parameter
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

PATIENCE = 5.0
_LOGIN = ("28P01", "28000")
_NO_DATABASE = "3D000"


async def look(url: str) -> str:
    """Give in a few words what is there.

    Raises:
        Misconfigured: it cannot be used, with the next step.
    """
    parsed = parsed_url(url)
    if parsed.drivername.startswith("sqlite"):
        path = Path(str(parsed.database))
        revision = await asyncio.to_thread(_of_sqlite, path)
        where = f"SQLite file {path}"
    else:
        revision = await _of_postgres(parsed)
        where = f"PostgreSQL at {parsed.host}"
    return f"{where} answers and can be written to, {_known(revision)}"


def _known(revision: str) -> str:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    newest = str(scripts.get_current_head())
    if not revision:
        return "nothing in it yet"
    if revision not in {one.revision for one in scripts.walk_revisions()}:
        raise Misconfigured(
            "store.url",
            f"holds a store of another, newer sliceward (revision {revision}; this one knows {newest})",
            "Run that version, restore the backup from before the upgrade, or name another store",
        )
    return f"revision {revision}" + ("" if revision == newest else f", which the next start brings to {newest}")


def _of_sqlite(path: Path) -> str:
    """Give the revision in a file, "" where there is none yet."""
    what_to_do = "Give the daemon's user the right to write there, or name another path in store.url"
    try:
        if not path.exists():
            with tempfile.TemporaryFile(dir=path.parent):
                return ""
        with path.open("r+b"):
            pass
    except OSError as error:
        raise Misconfigured("store.url", f"{path} cannot be written: {error.strerror}", what_to_do) from None
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=PATIENCE)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'").fetchone():
                return ""
            row = connection.execute("SELECT version_num FROM schema_version").fetchone()
    except sqlite3.Error as error:
        raise Misconfigured("store.url", f"{path} is no SQLite file that can be read: {error}", "Name another file") from None
    return str(row[0]) if row else ""


async def _of_postgres(url: URL) -> str:
    """Give the revision in a database, "" where there is none yet."""
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": PATIENCE, "command_timeout": PATIENCE})
    try:
        async with engine.connect() as connection:
            there = (await connection.execute(text("SELECT to_regclass('schema_version') IS NOT NULL"))).scalar_one()
            wanted = "table_privilege('schema_version', 'UPDATE')" if there else "schema_privilege(current_schema(), 'CREATE')"
            if not (await connection.execute(text(f"SELECT has_{wanted}"))).scalar_one():
                raise Misconfigured(
                    "store.url", f"user {url.username} may not write in {url.database}", f"GRANT it to {url.username}"
                )
            if not there:
                return ""
            return str((await connection.execute(text("SELECT version_num FROM schema_version"))).scalar_one_or_none() or "")
    except (DBAPIError, OSError, TimeoutError) as error:
        raise _explained(error, url) from None
    except (TypeError, ValueError) as error:
        raise unknown_parameter(error) from None
    finally:
        await engine.dispose()


def _explained(error: Exception, url: URL) -> Misconfigured:
    origin = getattr(error, "orig", None) or error
    why = str(origin).splitlines()[0] if str(origin) else f"no answer in {PATIENCE:.0f} s"
    state = str(getattr(origin, "sqlstate", "") or "")
    if state in _LOGIN:
        return Misconfigured("store.url", f"does not let {url.username} in: {why}", "Correct the user in it, or store.password")
    if state == _NO_DATABASE:
        return Misconfigured("store.url", why, f"Make it (createdb {url.database}), or name another")
    return Misconfigured("store.url", f"{url.host} does not answer: {why}", "Start PostgreSQL, or correct host and port")
