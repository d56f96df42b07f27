"""Configuration of a daemon: one YAML file, the environment over it, one pydantic model out, or a refusal that helps.

Order, later wins: the file, the short names (``SLICEWARD_MQTT_URL`` ...), ``SLICEWARD_<SECTION>__<KEY>``. Unknown keys and wrong
types are refused with the path of the key and a suggestion. Secrets, passwords in addresses too, come by a file of their own or
the environment only and are never printed.
"""

from __future__ import annotations

import json
import types
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path  # noqa: TC003 (pydantic resolves it at run time)
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.json_schema import GenerateJsonSchema

from sliceward.daemons import yaml_text
from sliceward.daemons.addresses import holds_password
from sliceward.daemons.setting_types import Duration, Secret, print_duration
from sliceward.topology.errors import Misconfigured
from sliceward.topology.names import override

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic.fields import FieldInfo

__all__ = [
    "BrokerSettings",
    "ClusterSettings",
    "Duration",
    "ListenSettings",
    "LogSettings",
    "Secret",
    "Section",
    "Settings",
    "Short",
    "load",
    "schema",
]

PREFIX = "SLICEWARD_"
Path_ = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


class Section(BaseModel):
    """Part of a configuration: nothing unknown, nothing converted in silence, nothing changed later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


@dataclass(frozen=True, slots=True)
class Short:
    """A short environment name. ``path`` is dotted (``clusters.0.name``); ``weak``: only where the file says nothing."""

    path: str
    weak: bool = False


class Settings(Section):
    """The whole configuration of one daemon. ``short_names`` maps environment names to keys for the one-cluster case."""

    short_names: ClassVar[Mapping[str, Short]] = {}


class LogSettings(Section):
    """How to log."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least severe line that is written.")
    format: Literal["auto", "json", "console"] = Field(default="auto", description="`auto`: console on a terminal, else JSON.")


def _are_names(names: dict[str, str | int]) -> dict[str, str | int]:
    """Refuse here what `override` would refuse at the start, so that a check of the file tells it too."""
    try:
        override(names)
    except Misconfigured as error:
        raise ValueError(str(error)) from error
    return names


OtherNames = Annotated[dict[str, str | int], AfterValidator(_are_names)]
"""Entries of `sliceward.topology.names.Names` under other names."""


class ListenSettings(Section):
    """Where to serve HTTP."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=0, ge=0, le=65535, description="Port; 0 takes a free one.")


class BrokerSettings(Section):
    """The MQTT broker of a cluster."""

    url: str = Field(default="", description="`mqtt://host:1883`, or `mqtts://host:8883` for TLS.")
    username: str = Field(default="", description="User at the broker; empty for none.")
    password: Secret | None = Field(default=None, description="Password: `{file: PATH}` or `{env: NAME}`.")
    ca_file: Path | None = Field(default=None, description="CA bundle that signs the broker; default is the system's.")
    cert_file: Path | None = Field(
        default=None, description="Certificate (PEM, with its chain) that is shown to a broker that asks for one."
    )
    key_file: Path | None = Field(default=None, description="Its key, unencrypted; default: it stands in `cert_file`.")

    @model_validator(mode="after")
    def _key_belongs_to_a_certificate(self) -> Self:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file is the key of a certificate: set cert_file too")
        return self


class ClusterSettings(Section):
    """One Kubernetes cluster and its broker."""

    name: str = Field(min_length=1, description="Name of the cluster, as in ids and topics.")
    kubeconfig: Path | None = Field(default=None, description="kubeconfig file; without one, the pod's own service account.")
    context: str | None = Field(default=None, description="Context in that file; default is its current one.")
    broker: BrokerSettings = Field(default_factory=BrokerSettings, description="The cluster's broker.")


def load(model: type[Model], *, file: Path | None, environ: Mapping[str, str]) -> Model:
    """Give the configuration that ``file`` (optional) and ``environ`` make together.

    Raises:
        Misconfigured: naming the file and key, or the environment variable, why, and what to do.
    """
    source = str(file) if file else "environment"
    data = yaml_text.read_mapping(file) if file else {}
    _refuse_plain_secrets(model, data, source)
    origins: dict[Path_, str] = {}
    short_names: Mapping[str, Short] = getattr(model, "short_names", {})
    for name in short_names:
        if environ.get(name) and (path := _set_short(model, data, name, environ[name])):
            origins[path] = name
    for name in sorted(environ):
        path = _path_of(model, name) if name not in short_names else None
        if path is not None:
            _put(data, path, _value(model, path, name, environ[name]), name)
            origins[path] = name
    try:
        return model.model_validate_json(json.dumps(data, default=str), context={"environ": environ})
    except ValidationError as error:
        raise _explained(model, error, source, origins) from None


def schema(model: type[BaseModel]) -> dict[str, Any]:
    """Give the JSON Schema (draft 2020-12) of a configuration file."""
    made = model.model_json_schema(mode="validation", schema_generator=_Schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


class _Schema(GenerateJsonSchema):
    """Writes the default of a duration as the file would, not in ISO 8601."""

    def encode_default(self, dft: Any) -> Any:  # noqa: ANN401 (pydantic's signature)
        """Give the default as JSON."""
        return print_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


# ── the environment ───────────────────────────────────────────────────────────────────────────────────────────────────


def _path_of(model: type[BaseModel], name: str) -> Path_ | None:
    """Give the key that an environment name stands for; None where it is not ours to read."""
    if not name.startswith(PREFIX):
        return None
    rest = name[len(PREFIX) :].lower()
    # Without a section only exact keys count: other programs and Kubernetes service links use names that begin like ours.
    if "__" not in rest:
        return (rest,) if rest in model.model_fields else None
    return tuple(int(part) if part.isdecimal() else part for part in rest.split("__"))


def _set_short(model: type[BaseModel], data: dict[str, Any], name: str, text: str) -> Path_ | None:
    """Set the key of a short name; give its path, or None where the name gives way to the file."""
    short: Short = getattr(model, "short_names")[name]  # noqa: B009 (declared on Settings; a plain model has none)
    path: Path_ = tuple(int(part) if part.isdecimal() else part for part in short.path.split("."))
    first = data.get(str(path[0]))
    if isinstance(first, list) and len(first) > 1:
        if short.weak:
            return None
        raise Misconfigured(
            name, f"sets the only one of {path[0]}, and the file lists {len(first)}", f"Unset {name}, or list one in the file"
        )
    if short.weak and _get(data, path) is not None:
        return None
    _put(data, path, _value(model, path, name, text), name)
    return path


def _get(data: Any, path: Path_) -> Any:  # noqa: ANN401 (YAML values)
    for part in path:
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


def _put(data: dict[str, Any], path: Path_, value: Any, name: str) -> None:  # noqa: ANN401 (YAML values)
    """Set one key, making mappings and list members on the way. A list grows by one at a time."""
    here: Any = data
    for part, following in zip(path, (*path[1:], None), strict=True):
        if isinstance(here, list) and isinstance(part, int):
            if part > len(here):
                raise Misconfigured(name, f"sets member {part} of a list that has {len(here)}", "Count from 0 without a gap")
            here.extend([None] * (part + 1 - len(here)))
        elif not (isinstance(here, dict) and isinstance(part, str)):
            raise Misconfigured(name, "does not fit what the file holds at that key", "Compare the name with the file")
        key: Any = part
        if following is None:
            here[key] = value
        elif (here[key] if isinstance(here, list) else here.get(key)) is None:
            here[key] = [] if isinstance(following, int) else {}
        here = here[key]


def _value(model: type[BaseModel], path: Path_, name: str, text: str) -> Any:  # noqa: ANN401 (YAML values)
    """Give the text of a variable as the kind of value its key holds: text stays text, the rest is read as YAML."""
    kinds = _annotations_at(model, path)
    if path[-1:] == ("file",) and Secret in _annotations_at(model, path[:-1]):
        return text
    if not kinds:
        known = _keys_at(model, path[:-1]) or list(model.model_fields)
        raise Misconfigured(name, "names no key of this configuration", _suggest(str(path[-1]), known))
    plain = [kind for kind in kinds if kind is not type(None)]
    if any(kind is Secret for kind in plain):
        return {"value": text}
    if any(get_origin(kind) in (list, tuple) for kind in plain) and not text.lstrip().startswith("["):
        return [part for part in text.split(":") if part]
    if any(kind in (bool, int, float) or get_origin(kind) in (list, tuple, dict) for kind in plain):
        return yaml_text.parse(text, where=name)
    return text


# ── what a model knows about its keys ─────────────────────────────────────────────────────────────────────────────────


def _members(annotation: Any) -> list[Any]:  # noqa: ANN401 (type forms)
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [kind for arg in get_args(annotation) for kind in _members(arg)]
    return [annotation]


def _annotations_at(model: type[BaseModel], path: Sequence[str | int]) -> list[Any]:
    """Give the types that may stand at a path; empty where the path leads nowhere."""
    kinds: list[Any] = [model]
    for part in path:
        following: list[Any] = []
        for kind in kinds:
            origin, arguments = get_origin(kind), get_args(kind)
            if origin in (list, tuple) and isinstance(part, int):
                following += _members(arguments[0])
            elif origin is dict and isinstance(part, str):
                following += _members(arguments[1])
            elif isinstance(kind, type) and issubclass(kind, BaseModel) and part in (named := _named(kind)):
                following += _members(named[str(part)].annotation)
        kinds = following
    return kinds


def _keys_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    return [
        key
        for kind in _annotations_at(model, path)
        if isinstance(kind, type) and issubclass(kind, BaseModel)
        for key in _named(kind)
    ]


def _named(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Give the fields by the names that stand in the file: some, like ``from``, cannot be names in Python."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _refuse_plain_secrets(model: type[BaseModel], data: Any, source: str, path: Path_ = ()) -> None:  # noqa: ANN401 (YAML values)
    members = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in members:
        here = (*path, key)
        if Secret in _annotations_at(model, here) and value is not None and not _is_reference(value):
            raise Misconfigured(f"{source}: {_dotted(here)}", "is a secret, and secrets do not stand in the file", Secret.HOW)
        if isinstance(value, str) and holds_password(value):
            why = "is an address with a password in it, and secrets do not stand in the file"
            raise Misconfigured(f"{source}: {_dotted(here)}", why, _apart(model, here))
        _refuse_plain_secrets(model, value, source, here)


def _apart(model: type[BaseModel], path: Path_) -> str:
    """Say where the password of an address belongs: beside it, where its section has the key, else into the environment."""
    beside = (*path[:-1], "password")
    key = f"write {_dotted(beside)}: {{file: PATH}}, or " if Secret in _annotations_at(model, beside) else ""
    return f"Take it out of the address; {key}set the whole address by the environment, as {_variable(path)}"


def _is_reference(value: Any) -> bool:  # noqa: ANN401 (YAML values)
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in ("file", "env")


# ── what to say ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _dotted(path: Sequence[str | int]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "(top)"


def _suggest(wrong: str, known: Sequence[str]) -> str:
    near = get_close_matches(wrong, known, n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else f"Known keys: {', '.join(sorted(known)) or 'none'}"


def _explained(model: type[BaseModel], error: ValidationError, source: str, origins: Mapping[Path_, str]) -> Misconfigured:
    problems = error.errors(include_url=False, include_input=False)
    first = problems[0]
    path = _without_tags(model, first["loc"])
    name = next((origins[path[:n]] for n in range(len(path), 0, -1) if path[:n] in origins), None)
    where = name or f"{source}: {_dotted(path)}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        return Misconfigured(where, f"unknown key{more}", _suggest(str(path[-1]), _keys_at(model, path[:-1])))
    if first["type"] == "missing":
        return Misconfigured(where, f"is needed{more}", f"Set it in the file, or as {_variable(path)}")
    why = first["msg"].removeprefix("Value error, ")
    return Misconfigured(where, f"{why[:1].lower()}{why[1:]}{more}", f"See docs/configuration.md for {_dotted(path)}")


def _without_tags(model: type[BaseModel], loc: Sequence[str | int]) -> Path_:
    """Drop the tags of union members that pydantic puts between keys."""
    path: Path_ = ()
    for part in loc:
        if _annotations_at(model, (*path, part)) or part == loc[-1]:
            path = (*path, part)
    return path


def _variable(path: Path_) -> str:
    return PREFIX + "__".join(str(part).upper() for part in path)
