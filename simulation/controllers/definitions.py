"""The definition of JobSet, brought to any API server: the full one where a folder is named, a minimal one of ours otherwise."""

from __future__ import annotations

import asyncio
import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from sliceward.simulation.controllers.client import DEFINITIONS, JOBSETS, Refusal

if TYPE_CHECKING:
    from sliceward.simulation.controllers.client import Client, Json

FOLDER_VARIABLE = "SLICEWARD_CRDS"
"""Environment variable that names a folder with ``jobset-jobsets.yaml``, the full definition."""

_PATIENCE = 10
"""Seconds until a new definition is served."""


def jobset_definition(folder: Path | None = None) -> Json:
    """Read the definition from a folder, from the one that the environment names, or our own."""
    named = folder or (Path(os.environ[FOLDER_VARIABLE]) if os.environ.get(FOLDER_VARIABLE) else None)
    if named is not None and (named / "jobset-jobsets.yaml").is_file():
        text = (named / "jobset-jobsets.yaml").read_text(encoding="utf-8")
    else:
        text = resources.files("sliceward.simulation.kube").joinpath("crds/jobset.yaml").read_text(encoding="utf-8")
    found: Json = yaml.safe_load(text)
    return found


async def install_jobset(client: Client, folder: Path | None = None) -> None:
    """Create the definition unless it is there, and wait until it is served."""
    try:
        await client.create(DEFINITIONS, await asyncio.to_thread(jobset_definition, folder))
    except Refusal as no:
        if no.reason != "AlreadyExists":
            raise
    async with asyncio.timeout(_PATIENCE):
        while not await _is_served(client):  # noqa: ASYNC110 - what is waited for is on a server
            await asyncio.sleep(0.05)


async def _is_served(client: Client) -> bool:
    try:
        await client.call("GET", JOBSETS.path() + "?limit=1")
    except Refusal:
        return False
    return True
