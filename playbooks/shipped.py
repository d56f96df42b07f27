"""The playbooks that sliceward ships, as files in ``library/``; all begin in mode Observe. Reads files: not for deciding."""

from __future__ import annotations

from importlib import resources


def shipped() -> dict[str, str]:
    """Give the text of every shipped playbook, by file name."""
    found = (
        entry for entry in resources.files("sliceward.playbooks").joinpath("library").iterdir() if entry.name.endswith(".yaml")
    )
    return {entry.name: entry.read_text(encoding="utf-8") for entry in sorted(found, key=lambda entry: entry.name)}
