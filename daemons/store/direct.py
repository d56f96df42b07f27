"""A second connection for writing to SQLite, for whole transactions: all statements of one run in a thread of its own.

The asynchronous driver changes threads four times for each statement, and each change waits for its turn on a busy machine; a turn of
an incident has ten statements.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Connection, Engine

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Direct:
    """``engine``: of one connection, which its one thread alone uses."""

    engine: Engine
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="store"))

    async def write(self, work: Callable[[Connection], Result]) -> Result:
        """Do ``work`` in a transaction. One that is cancelled meanwhile, however often, is written or not, and has ended either way."""
        job = asyncio.get_running_loop().run_in_executor(self._thread, partial(self._written, work))
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            while not job.done():
                with suppress(asyncio.CancelledError):  # the first is raised below
                    await asyncio.wait([job])
            job.exception()  # nobody is left to whom it could be told
            raise

    def _written(self, work: Callable[[Connection], Result]) -> Result:
        with self.engine.begin() as connection:
            return work(connection)

    async def close(self) -> None:
        """Close the connection, in the thread that opened it."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self.engine.dispose)
        self._thread.shutdown()
