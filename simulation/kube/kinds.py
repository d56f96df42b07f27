"""The kinds that the emulator serves: built-in ones as a table, custom ones read from their definitions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of object is served.

    ``generation``: its spec changes are counted. ``versioned``: a PUT must carry a version. ``upsert``: a PUT of a
    missing object creates it. ``given_status``: the status given at creation is kept.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    singular: str = ""
    status: bool = False
    generation: bool = False
    versioned: bool = False
    upsert: bool = False
    given_status: bool = False
    subresources: tuple[str, ...] = ()
    ephemeral: bool = False
    custom: bool = False
    schema: dict[str, Any] | None = field(default=None, compare=False, repr=False)

    @property
    def api_version(self) -> str:
        """What objects carry as ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """What error messages call it, such as ``jobs.batch``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def list_kind(self) -> str:
        """What lists of it carry as ``kind``."""
        return f"{self.kind}List"


NAMESPACE = Kind("", "v1", "namespaces", "Namespace", namespaced=False, short_names=("ns",), status=True)
NODE = Kind("", "v1", "nodes", "Node", namespaced=False, short_names=("no",), status=True, given_status=True)
POD = Kind("", "v1", "pods", "Pod", short_names=("po",), status=True, generation=True, subresources=("eviction", "binding"))
EVENT = Kind("", "v1", "events", "Event", short_names=("ev",), upsert=True)
NEW_EVENT = Kind("events.k8s.io", "v1", "events", "Event", short_names=("ev",), upsert=True)
CONFIG_MAP = Kind("", "v1", "configmaps", "ConfigMap", short_names=("cm",))
SECRET = Kind("", "v1", "secrets", "Secret")
SERVICE = Kind("", "v1", "services", "Service", short_names=("svc",), status=True)
SERVICE_ACCOUNT = Kind("", "v1", "serviceaccounts", "ServiceAccount", short_names=("sa",), subresources=("token",))
JOB = Kind("batch", "v1", "jobs", "Job", status=True, generation=True)
LEASE = Kind("coordination.k8s.io", "v1", "leases", "Lease", versioned=True, upsert=True)
BUDGET = Kind(
    "policy",
    "v1",
    "poddisruptionbudgets",
    "PodDisruptionBudget",
    short_names=("pdb",),
    status=True,
    generation=True,
    versioned=True,
)
DAEMON_SET = Kind("apps", "v1", "daemonsets", "DaemonSet", short_names=("ds",), status=True, generation=True)
DEFINITION = Kind(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition",
    namespaced=False, short_names=("crd", "crds"), status=True, generation=True, versioned=True,
)  # fmt: skip
PRIORITY_CLASS = Kind("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False, short_names=("pc",))
TOKEN_REVIEW = Kind("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False, ephemeral=True)
SELF_ACCESS_REVIEW = Kind(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False, ephemeral=True
)

BUILT_IN = (
    NAMESPACE, NODE, POD, EVENT, NEW_EVENT, CONFIG_MAP, SECRET, SERVICE, SERVICE_ACCOUNT, JOB, LEASE, BUDGET, DAEMON_SET,
    DEFINITION, PRIORITY_CLASS, TOKEN_REVIEW, SELF_ACCESS_REVIEW,
)  # fmt: skip


def of_definition(definition: dict[str, Any]) -> tuple[Kind, ...]:
    """Read the kinds, one for each served version, from a CustomResourceDefinition."""
    spec = definition["spec"]
    names = spec["names"]
    return tuple(
        Kind(
            group=spec["group"],
            version=version["name"],
            plural=names["plural"],
            kind=names["kind"],
            singular=names.get("singular") or names["kind"].lower(),
            namespaced=spec.get("scope", "Namespaced") == "Namespaced",
            short_names=tuple(names.get("shortNames", ())),
            status="status" in version.get("subresources", {}),
            generation=True,
            versioned=True,
            custom=True,
            schema=version.get("schema", {}).get("openAPIV3Schema"),
        )
        for version in spec["versions"]
        if version.get("served", True)
    )
