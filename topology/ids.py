"""Ids of everything that can be named, with one parser (`parse`) and one printer (`str`) each.

The printed form is ``<cluster>/<kind>/<rest>``; it is what stands in findings, records, the API and the CLI:

=======  ==========================================  ==============================================
kind     printed                                     what it is
=======  ==========================================  ==============================================
cluster  ``prod-eu``                                 one Kubernetes cluster
pod      ``prod-eu/pod/block-7``                     a TPU pod (superpod, ``gce-topology-block``)
cube     ``prod-eu/cube/4x4x4-a1b2``                 a 4x4x4 partition, or a classic node pool
host     ``prod-eu/host/gke-tpu-1``                  a TPU VM, by node name
chip     ``prod-eu/chip/gke-tpu-1/2``                a chip by its index on the host
link     ``prod-eu/link/gke-tpu-1/2~gke-tpu-2/0``    an ICI link, ends in sorted order
slice    ``prod-eu/slice/train-slice-0``             chips that are joined by ICI for one gang
gang     ``prod-eu/gang/ml/JobSet/llm``              pods that live and die together
ocs      ``prod-eu/ocs/block-7.x.3-2``               an optical switch, by pod, axis and place in the face
domain   ``prod-eu/domain/rack-12``                  what shares power or cooling, as a label of its hosts says
=======  ==========================================  ==============================================

A name is never identity by itself: provider instance id and boot id travel beside it (DESIGN.md section 4).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import ClassVar, Self

from sliceward.topology.errors import Misconfigured

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_INDEX = re.compile(r"0|[1-9][0-9]?")
"""A chip's index in the one way in which it is printed: 03 and the digits of other scripts would be second names of one chip."""


def _checked(kind: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Misconfigured(
            f"{kind} name {name!r}",
            "is not a Kubernetes name",
            "Use letters, digits, '-', '_' and '.', at most 253, beginning and ending with a letter or digit",
        )
    return name


@dataclass(frozen=True, slots=True, order=True)
class ClusterId:
    """One Kubernetes cluster."""

    name: str

    def __post_init__(self) -> None:
        """Refuse a name that could not stand in a topic, a path or a label."""
        _checked("cluster", self.name)

    def __str__(self) -> str:
        """Print as ``name``."""
        return self.name


@dataclass(frozen=True, slots=True, order=True)
class _Named:
    kind: ClassVar[str]
    cluster: str
    name: str

    def __post_init__(self) -> None:
        _checked("cluster", self.cluster)
        _checked(self.kind, self.name)

    def __str__(self) -> str:
        return f"{self.cluster}/{self.kind}/{self.name}"


class PodId(_Named):
    """A TPU pod (superpod): the largest unit whose cubes can be joined; not a Kubernetes Pod."""

    __slots__ = ()
    kind = "pod"


class CubeId(_Named):
    """A cube: 4x4x4 chips on 16 hosts; on classic GKE the node pool, which is the failure domain there."""

    __slots__ = ()
    kind = "cube"


class HostId(_Named):
    """A TPU host (VM), by its node name."""

    __slots__ = ()
    kind = "host"


class SliceId(_Named):
    """A slice: chips joined by ICI for one gang."""

    __slots__ = ()
    kind = "slice"


class SwitchId(_Named):
    """An optical switch: of every cube of a pod it carries the link at one place of the faces of one axis."""

    __slots__ = ()
    kind = "ocs"


class DomainId(_Named):
    """What hosts share besides their cube, such as power or cooling; by the value of a label."""

    __slots__ = ()
    kind = "domain"


@dataclass(frozen=True, slots=True, order=True)
class ChipId:
    """A chip by its index on the host, 0 <= index < chips of the host."""

    cluster: str
    host: str
    index: int

    def __post_init__(self) -> None:
        """Refuse names and indices that cannot be."""
        _checked("cluster", self.cluster)
        _checked("host", self.host)
        if not 0 <= self.index < 64:  # noqa: PLR2004 (no host has more; a larger number is a mistake of the speaker)
            raise Misconfigured(f"chip {self.host}/{self.index}", "has an index outside 0..63")

    @property
    def kind(self) -> str:
        """Kind as printed."""
        return "chip"

    @property
    def host_id(self) -> HostId:
        """The host that carries this chip."""
        return HostId(self.cluster, self.host)

    def __str__(self) -> str:
        """Print as ``cluster/chip/host/index``."""
        return f"{self.cluster}/chip/{self.host}/{self.index}"


@dataclass(frozen=True, slots=True, order=True)
class LinkId:
    """An ICI link by its two chips in sorted order, so that both ends give it the same name. Make it with `between`."""

    cluster: str
    host_a: str
    index_a: int
    host_b: str
    index_b: int

    def __post_init__(self) -> None:
        """Refuse an unsorted pair: two names for one link would be two incidents for one fault."""
        if (self.host_a, self.index_a) >= (self.host_b, self.index_b):
            raise Misconfigured(f"link {self}", "has its ends out of order or equal", "Use LinkId.between")

    @classmethod
    def between(cls, one: ChipId, other: ChipId) -> Self:
        """Give the link between two chips, whichever is named first."""
        if one.cluster != other.cluster:
            raise Misconfigured(f"link {one} - {other}", "joins two clusters; ICI ends at the pod")
        low, high = sorted((one, other))
        return cls(low.cluster, low.host, low.index, high.host, high.index)

    @property
    def kind(self) -> str:
        """Kind as printed."""
        return "link"

    @property
    def ends(self) -> tuple[ChipId, ChipId]:
        """The two chips, in sorted order."""
        return ChipId(self.cluster, self.host_a, self.index_a), ChipId(self.cluster, self.host_b, self.index_b)

    def __str__(self) -> str:
        """Print as ``cluster/link/host/index~host/index``."""
        return f"{self.cluster}/link/{self.host_a}/{self.index_a}~{self.host_b}/{self.index_b}"


@dataclass(frozen=True, slots=True, order=True)
class GangId:
    """A gang by the object that owns its pods. ``owner_kind`` is the Kubernetes kind (``JobSet``, ``Job`` ...)."""

    cluster: str
    namespace: str
    owner_kind: str
    name: str

    def __post_init__(self) -> None:
        """Refuse names that Kubernetes would refuse."""
        for field in (self.cluster, self.namespace, self.owner_kind, self.name):
            _checked("gang", field)

    @property
    def kind(self) -> str:
        """Kind as printed."""
        return "gang"

    @property
    def key(self) -> str:
        """What stands in MQTT topics and in the node label ``sliceward.dev/gang`` (at most 51 characters).

        The name cut to 40 characters, a dash, and 10 hex digits of SHA-256 over cluster/namespace/kind/name.
        """
        digest = hashlib.sha256(f"{self.cluster}/{self.namespace}/{self.owner_kind}/{self.name}".encode()).hexdigest()
        return f"{self.name[:40]}-{digest[:10]}"

    def __str__(self) -> str:
        """Print as ``cluster/gang/namespace/kind/name``."""
        return f"{self.cluster}/gang/{self.namespace}/{self.owner_kind}/{self.name}"


PartId = ClusterId | PodId | CubeId | HostId | ChipId | LinkId | SliceId | GangId | SwitchId | DomainId


def hosts_of(part: PartId) -> tuple[HostId, ...]:
    """Give the hosts that a part sits on: one for host and chip, one or two for a link, none for the rest."""
    match part:
        case HostId():
            return (part,)
        case ChipId():
            return (part.host_id,)
        case LinkId():
            return tuple(dict.fromkeys(end.host_id for end in part.ends))
        case _:
            return ()


_NAMED: dict[str, type[PodId | CubeId | HostId | SliceId | SwitchId | DomainId]] = {
    "pod": PodId,
    "cube": CubeId,
    "host": HostId,
    "slice": SliceId,
    "ocs": SwitchId,
    "domain": DomainId,
}


def parse(text: str) -> PartId:
    """Give the id that prints as ``text``.

    Raises:
        Misconfigured: the text is not the printed form of any id.
    """
    cluster, _, rest = text.partition("/")
    kind, _, name = rest.partition("/")
    if not rest:
        return ClusterId(cluster)
    if kind in _NAMED:
        return _NAMED[kind](cluster, name)
    if kind == "chip":
        return _chip(cluster, name, text)
    if kind == "link" and "~" in name:
        one, _, other = name.partition("~")
        return LinkId.between(_chip(cluster, one, text), _chip(cluster, other, text))
    if kind == "gang" and name.count("/") == 2:  # noqa: PLR2004 (namespace/kind/name)
        return GangId(cluster, *name.split("/"))
    raise Misconfigured(f"id {text!r}", "is not an id", "Ids look like cluster/host/name; see `sliceward get hosts`")


def _chip(cluster: str, name: str, text: str) -> ChipId:
    host, _, index = name.rpartition("/")
    if not _INDEX.fullmatch(index):
        raise Misconfigured(f"id {text!r}", f"{name!r} does not end in a chip index")
    return ChipId(cluster, host, int(index))
