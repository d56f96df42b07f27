"""Start a real server on loopback in a folder of its own, wait until it answers, and end it.

``server(...)`` is a context manager; ports are free ones, so several instances can run side by side.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PATIENCE = 30.0
"""Seconds that a server may take until it answers; the slowest here takes 4 on two busy cores."""

LEFT_OUT = "services are left out (SLICEWARD_SERVICES=none)"
"""Why a test is skipped where somebody wants only those that need no program of others."""

_SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin")


def need_services() -> None:
    """Skip the test where services are left out."""
    if os.environ.get("SLICEWARD_SERVICES") == "none":
        pytest.skip(LEFT_OUT)


def find_program(*names: str, variable: str = "", folders: Sequence[str | Path] = ()) -> str | None:
    """Give the first program there is: by its variable, in ``folders``, on ``PATH``, in the folders of system programs."""
    if variable and (named := os.environ.get(variable)):
        return named
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", ""), *_SBIN])
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def need_program(*names: str, variable: str = "", folders: Sequence[str | Path] = ()) -> str:
    """Give the program, or skip the test by the program's name."""
    need_services()
    found = find_program(*names, variable=variable, folders=folders)
    if found is None:
        pytest.skip(f"no {names[0]}" + (f" (set {variable}, or put it on PATH)" if variable else " on PATH"))
    return found


def free_port() -> int:
    """Give a loopback port that nobody holds at this moment.

    It lies below those that Linux gives to outgoing connections (net.ipv4.ip_local_port_range): one of them could take it before
    its server has come up, or while the server is away.
    """
    while True:
        port = 16_384 + secrets.randbelow(16_384)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


def accepts(port: int) -> Callable[[], bool]:
    """Make a question: does something accept connections there?"""

    def asked() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return False
        return True

    return asked


def answers(url: str) -> Callable[[], bool]:
    """Make a question: does this address answer 200?"""

    def asked() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=1) as response:  # noqa: S310 (an http address of ours)
                return bool(response.status == 200)
        except (OSError, urllib.error.HTTPError):
            return False

    return asked


def wait_until(question: Callable[[], bool], *, alive: Callable[[], bool], log: Path, name: str) -> None:
    """Ask until the answer is yes; a server that ended instead, or stays silent, fails with the end of its log."""
    end = time.monotonic() + PATIENCE
    while not question():
        if not alive() or time.monotonic() > end:
            told = log.read_text(encoding="utf-8", errors="replace")[-2000:] if log.exists() else ""
            pytest.fail(f"{name} did not start:\n{told}", pytrace=False)
        time.sleep(0.02)


@contextmanager
def server(
    command: Sequence[str | Path], *, folder: Path, ready: Callable[[], bool], environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server from ``folder`` until the block ends; its output is in ``folder/log``."""
    log = folder / "log"
    name = Path(command[0]).name
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 (programs found by the fixtures)
            [str(word) for word in command], cwd=folder, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environ
        )
    try:
        wait_until(ready, alive=lambda: process.poll() is None, log=log, name=name)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
