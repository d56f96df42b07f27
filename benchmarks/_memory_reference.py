"""``_memory_reference.py KUBECONFIG``: holds all nodes and pods as plain dicts, says so, and stays as it is."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import yaml


async def listed(config: dict[str, Any]) -> list[dict[str, Any]]:
    """List them in pages."""
    server, token = config["clusters"][0]["cluster"]["server"], config["users"][0]["user"]["token"]
    held = []
    async with aiohttp.ClientSession(server, headers={"Authorization": f"Bearer {token}"}) as session:
        for plural in ("nodes", "pods"):
            following: str | None = ""
            while following is not None:
                query = {"limit": "500"} | ({"continue": following} if following else {})
                async with session.get(f"/api/v1/{plural}", params=query) as answer:
                    page = json.loads(await answer.read())
                held += page["items"]
                following = page["metadata"].get("continue") or None
    return held


async def main(config: dict[str, Any]) -> None:
    """Hold them."""
    held = await listed(config)
    print("full", len(held), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8"))))
