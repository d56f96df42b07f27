"""Who a training process is: its gang, role, slice and rank, from the environment that JobSet, Jobs and GKE give to pods."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_GANG_PARTS = 3
_MOST_DIGITS = 9


_LONGEST = 253
"""Characters of a word that the agent takes."""


@dataclass(frozen=True, slots=True)
class Job:
    """Who reports. Text is "" and numbers are None where the environment does not tell; the agent then asks the pod's labels."""

    namespace: str = ""
    owner_kind: str = ""
    name: str = ""
    role: str = ""
    slice_index: int | None = None
    rank: int | None = None
    pod_uid: str = ""
    coordinator: str = ""
    attempt: str = ""
    slices: int | None = None

    def as_json(self) -> dict[str, str | int | None]:
        """Give it as it stands in ``hello``."""
        return asdict(self)


def job_from(environ: Mapping[str, str], *, namespace_file: Path = _NAMESPACE_FILE) -> Job:
    """Give who we are. ``SLICEWARD_GANG`` = ``namespace/Kind/name`` wins; else ``JOBSET_NAME``, else ``JOB_NAME``."""
    namespace = environ.get("POD_NAMESPACE") or _text_of(namespace_file)
    gang = environ.get("SLICEWARD_GANG", "").split("/")
    if len(gang) == _GANG_PARTS and all(gang):
        namespace, owner_kind, name = gang
    elif environ.get("JOBSET_NAME"):
        owner_kind, name = "JobSet", environ["JOBSET_NAME"]
    elif environ.get("JOB_NAME"):
        owner_kind, name = "Job", environ["JOB_NAME"]
    else:
        owner_kind = name = ""
    return Job(
        namespace=namespace,
        owner_kind=owner_kind,
        name=name,
        role=_first(environ, "SLICEWARD_ROLE", "REPLICATED_JOB_NAME"),
        slice_index=_number(_first(environ, "SLICEWARD_SLICE", "MEGASCALE_SLICE_ID", "JOB_INDEX")),
        rank=_number(_first(environ, "SLICEWARD_RANK", "TPU_WORKER_ID", "JOB_COMPLETION_INDEX")),
        pod_uid=environ.get("POD_UID", ""),
        coordinator=_first(environ, "JAX_COORDINATOR_ADDRESS", "MEGASCALE_COORDINATOR_ADDRESS", "COORDINATOR_ADDRESS")[:_LONGEST],
        attempt=environ.get("SLICEWARD_ATTEMPT", "")[:_LONGEST],
        slices=_number(environ.get("MEGASCALE_NUM_SLICES", "")),
    )


def _first(environ: Mapping[str, str], *names: str) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
