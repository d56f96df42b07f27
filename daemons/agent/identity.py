"""Who this host is: provider instance id, boot id, place in its cube, and what it carries. What is missing stays missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sliceward.daemons.sources.devices import text_in
from sliceward.daemons.sources.source import Layout
from sliceward.topology.chips import chips_of, whole_number
from sliceward.topology.errors import Misconfigured
from sliceward.topology.generations import GENERATIONS, PCI_VENDOR
from sliceward.topology.ids import HostId

if TYPE_CHECKING:
    from pathlib import Path

    from sliceward.daemons.agent.settings import AgentSettings
    from sliceward.daemons.sources.pods import NodeFacts
    from sliceward.topology.names import Names

_BOOT_ID = "proc/sys/kernel/random/boot_id"


@dataclass(frozen=True, slots=True)
class Identity:
    """Stands on every frame and event. ``problems``: what is missing, in words for the status message."""

    host: HostId
    instance_id: str
    boot_id: str
    index: int | None
    agent_start: float
    problems: tuple[str, ...] = ()


def identify(settings: AgentSettings, facts: NodeFacts, *, names: Names, start: float) -> Identity:
    """Give the identity. ``start``: unix seconds at which this agent began.

    Raises:
        Misconfigured: cluster or node name cannot be one.
    """
    told = text_in(settings.instance_id_file) if settings.instance_id_file else ""
    instance_id = settings.instance_id or told or facts.annotations.get(names.instance_id, "")
    boot_id = text_in(settings.sources.root / _BOOT_ID)
    label = facts.labels.get(names.host_index, "")
    index = settings.index if settings.index is not None else int(label) if label.isdecimal() and len(label) <= 5 else None  # noqa: PLR2004 (five digits hold every index)
    problems = []
    if not instance_id:
        problems.append("no instance id: set instance_id, instance_id_file or SLICEWARD_INSTANCE_ID")
    if not boot_id:
        problems.append(f"no boot id: {settings.sources.root / _BOOT_ID} cannot be read")
    if index is None:
        problems.append(f"no place in the cube: set SLICEWARD_HOST_INDEX or label {names.host_index}")
    return Identity(HostId(settings.cluster, settings.node), instance_id, boot_id, index, start, tuple(problems))


def layout_of(settings: AgentSettings, facts: NodeFacts, *, names: Names) -> Layout:
    """Give what this host should carry: from settings, else the node's labels, else from PCI.

    Raises:
        Misconfigured: none of them tells, or they tell what does not exist.
    """
    seen = _on_pci(settings.sources.root)
    label = settings.generation or facts.labels.get(names.accelerator) or next(iter(seen), None)
    if label is None:
        raise Misconfigured(
            "generation", "is not known: no setting, no node label, no TPU on PCI", f"Set it to one of {', '.join(GENERATIONS)}"
        )
    if label not in GENERATIONS:
        raise Misconfigured("generation", f"{label!r} is not known", f"Use one of {', '.join(GENERATIONS)}")
    generation = GENERATIONS[label]
    count = whole_number(facts.labels.get(names.accelerator_count))
    chips = settings.chips or chips_of(generation, count) or seen.get(label)
    if not chips:
        raise Misconfigured("chips", "is not known: no setting, no node label, no TPU on PCI", "Set the chips of this host")
    return Layout(generation, chips)


def _on_pci(root: Path) -> dict[str, int]:
    """Give accelerator label -> chips found on PCI."""
    found: dict[str, set[str]] = {}
    folder = root / "sys/bus/pci/devices"
    by_device = {generation.pci_id: generation.label for generation in GENERATIONS.values()}
    for function in folder.iterdir() if folder.is_dir() else ():
        label = by_device.get(text_in(function / "device"))
        if label is not None and text_in(function / "vendor") == PCI_VENDOR:
            found.setdefault(label, set()).add(function.name.partition(".")[0])
    return {label: len(chips) for label, chips in found.items()}
