"""The tree itself: domains by level, from the labels of hosts, and what the lowest domains have free.

Comes in: the label of each level from the top, hosts, and what runs on them already. A host counts if it is usable and bears
every level's label and those of the flavor. Domains are numbered in the order of their paths, so that the lower number is the
tie-break everywhere ("path ascending"). Where the lowest level is the host's own label, a leaf is one host and goes by that
label's value alone, as assignments write it; elsewhere a leaf is all hosts of one path together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sliceward.scheduling.tree.amounts import Amounts, checked, minus, of_pods, plus
from sliceward.topology.errors import Misconfigured
from sliceward.topology.names import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sliceward.scheduling.tree.suiting import Host

HOSTNAME = NAMES.hostname

Path = tuple[str, ...]
"""The values of the levels' labels from the top; in an assignment, of the levels that it lists."""


@dataclass(frozen=True, slots=True)
class Domain:
    """One node of the tree. ``parent`` and ``children`` are numbers of domains."""

    number: int
    path: Path
    parent: int | None
    children: tuple[int, ...]

    @property
    def level(self) -> int:
        """Its level, 0 at the top."""
        return len(self.path) - 1


@dataclass(frozen=True, slots=True)
class Resident:
    """A pod that no gang's assignment accounts for: it takes room on its host until it has ended."""

    name: str
    host: str | None
    requests: Amounts
    ended: bool = False


@dataclass(frozen=True)
class LabelTree:
    """Domains in the order of their paths. ``free``: what each leaf has for gangs; ``hosts``: the host of each leaf, if it is one."""

    levels: tuple[str, ...]
    domains: tuple[Domain, ...]
    by_level: tuple[tuple[int, ...], ...]
    leaves: Mapping[Path, int]
    free: Mapping[int, Amounts]
    hosts: Mapping[int, Host] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        levels: Sequence[str],
        hosts: Iterable[Host],
        *,
        residents: Iterable[Resident] = (),
        flavor: Mapping[str, str] | None = None,
    ) -> LabelTree:
        """Build the tree of the hosts that count.

        Raises:
            Misconfigured: no level or one twice; a host's name or hostname label twice, at one place or at two (a leaf with two
                parents); amounts that are no whole numbers.
        """
        told = _checked_levels(levels)
        counted = [host for host in _checked_hosts(told, hosts) if _counts(host, told, flavor or {})]
        paths = {host.name: tuple(host.labels[level] for level in told) for host in counted}
        domains = _numbered(set(paths.values()), len(told))
        at = {domain.path: domain.number for domain in domains}
        by_level = tuple(tuple(d.number for d in domains if d.level == level) for level in range(len(told)))
        single = told[-1] == HOSTNAME
        return cls(
            levels=told,
            domains=domains,
            by_level=by_level,
            leaves={(domains[n].path[-1:] if single else domains[n].path): n for n in by_level[-1]},
            free=_free({host.name: at[paths[host.name]] for host in counted}, counted, residents),
            hosts={at[paths[host.name]]: host for host in counted} if single else {},
        )

    @property
    def by_host(self) -> bool:
        """Whether the lowest level is the host itself."""
        return self.levels[-1] == HOSTNAME

    @property
    def written(self) -> tuple[str, ...]:
        """The levels that an assignment lists: the host alone says where it is."""
        return self.levels[-1:] if self.by_host else self.levels

    def values_of(self, leaf: int) -> Path:
        """Give the values by which an assignment names a leaf."""
        path = self.domains[leaf].path
        return path[-1:] if self.by_host else path

    def level_of(self, label: str) -> int | None:
        """Give the level that goes by a label; None: the tree has none."""
        return self.levels.index(label) if label in self.levels else None

    def above(self, number: int, level: int) -> int:
        """Give the domain of a level that a domain lies in (or is)."""
        while self.domains[number].level > level:
            number = self.domains[number].parent or 0
        return number

    def lies_in(self, number: int, domain: int) -> bool:
        """Whether a domain lies in another, or is it."""
        whole = self.domains[domain].path
        return self.domains[number].path[: len(whole)] == whole

    def below(self, domains: Iterable[int]) -> list[int]:
        """Give the children of domains, one after the other."""
        return [child for number in domains for child in self.domains[number].children]


def _checked_levels(levels: Sequence[str]) -> tuple[str, ...]:
    if not levels or len(set(levels)) < len(levels):
        said = ", ".join(levels) or "none"
        raise Misconfigured("levels of the tree", f"{said}: each level needs a label of its own", "List labels from the top")
    return tuple(levels)


def _checked_hosts(levels: tuple[str, ...], hosts: Iterable[Host]) -> list[Host]:
    """Give the hosts back in the order of their names, if each has one name and one place."""
    found = sorted(hosts, key=lambda host: host.name)
    places: dict[str, Host] = {}
    for before, host in zip([None, *found], found, strict=False):
        if before is not None and before.name == host.name:
            raise Misconfigured(f"host {host.name}", "is there twice", "Give each host once")
        checked(host.allocatable, f"host {host.name}: allocatable")
        if levels[-1] != HOSTNAME or any(level not in host.labels for level in levels):
            continue
        twin = places.setdefault(host.labels[HOSTNAME], host)
        if twin is not host:
            two = " > ".join(twin.labels[level] for level in levels)
            one = " > ".join(host.labels[level] for level in levels)
            why = f"stands at {one}, and {twin.name} at {two} under the same name: a leaf has one parent"
            raise Misconfigured(f"host {host.name}", why, f"Give each its own label {HOSTNAME}")
    return found


def _counts(host: Host, levels: tuple[str, ...], flavor: Mapping[str, str]) -> bool:
    """Whether a host takes part: usable, with all levels' labels and those of the flavor."""
    labelled = all(level in host.labels for level in levels)
    return host.usable and labelled and all(host.labels.get(key, "") == value for key, value in flavor.items())


def _numbered(leaves: set[Path], depth: int) -> tuple[Domain, ...]:
    """Give all domains above and at the leaves, level by level, each level in the order of its paths."""
    paths = [sorted({leaf[: level + 1] for leaf in leaves}) for level in range(depth)]
    ordered = [path for level in paths for path in level]
    at = {path: number for number, path in enumerate(ordered)}
    children: dict[Path, list[int]] = {}
    for path in ordered:
        children.setdefault(path[:-1], []).append(at[path])
    return tuple(Domain(n, path, at.get(path[:-1]), tuple(children.get(path, ()))) for n, path in enumerate(ordered))


def _free(leaf_of: Mapping[str, int], hosts: list[Host], residents: Iterable[Resident]) -> dict[int, Amounts]:
    """Add up what the hosts of each leaf offer, less what runs there already."""
    free: dict[int, Amounts] = {}
    for host in hosts:
        free[leaf_of[host.name]] = plus(free.get(leaf_of[host.name], {}), host.allocatable)
    for resident in residents:
        requests = checked(resident.requests, f"pod {resident.name}: requests")
        if resident.host is not None and resident.host in leaf_of and not resident.ended:
            leaf = leaf_of[resident.host]
            free[leaf] = minus(free[leaf], of_pods(requests, 1))
    return free
