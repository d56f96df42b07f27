"""Configuration: right values from file and environment, and refusals that say where, why and what to do."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import jsonschema
import pytest
import yaml
from pydantic import Field

from sliceward.daemons import yaml_text
from sliceward.daemons.setting_types import parse_duration, print_duration
from sliceward.daemons.settings import (
    BrokerSettings,
    ClusterSettings,
    Duration,
    LogSettings,
    Secret,
    Section,
    Settings,
    Short,
    load,
    schema,
)
from sliceward.topology.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Store(Section):
    url: str = "sqlite:///x.db"
    size: int = 5
    busy: Duration = timedelta(seconds=3)


class _Daemon(Settings):
    short_names: ClassVar[Mapping[str, Short]] = {
        "SLICEWARD_CLUSTER": Short("clusters.0.name"),
        "SLICEWARD_MQTT_URL": Short("clusters.0.broker.url"),
        "SLICEWARD_STORE_URL": Short("store.url"),
        "KUBECONFIG": Short("clusters.0.kubeconfig", weak=True),
        "SLICEWARD_PLAYBOOKS": Short("playbooks"),
    }
    clusters: list[ClusterSettings] = Field(default_factory=list)
    store: _Store = Field(default_factory=_Store)
    log: LogSettings = Field(default_factory=LogSettings)
    playbooks: list[str] = Field(default_factory=list)
    quota: dict[str, int] = Field(default_factory=dict)
    key: Secret | None = None


def _file(folder: Path, text: str) -> Path:
    path = folder / "daemon.yaml"
    path.write_text(text)
    return path


def test_without_a_file_the_defaults_hold() -> None:
    assert load(_Daemon, file=None, environ={}).store == _Store()


def test_short_names_set_the_one_cluster_case() -> None:
    environ = {
        "SLICEWARD_CLUSTER": "c1",
        "SLICEWARD_MQTT_URL": "mqtt://b:1883",
        "SLICEWARD_STORE_URL": "postgresql://x",
        "KUBECONFIG": "/k",
        "SLICEWARD_PLAYBOOKS": "/a:/b",
    }
    got = load(_Daemon, file=None, environ=environ)
    assert (got.clusters[0].name, got.clusters[0].broker.url, str(got.clusters[0].kubeconfig)) == ("c1", "mqtt://b:1883", "/k")
    assert got.store.url == "postgresql://x"
    assert got.playbooks == ["/a", "/b"]


def test_the_environment_wins_over_the_file_and_a_weak_name_does_not(tmp_path: Path) -> None:
    file = _file(tmp_path, "clusters: [{name: c1, kubeconfig: /mine}]\nstore: {size: 7, url: a}\n")
    environ = {"SLICEWARD_STORE__SIZE": "9", "SLICEWARD_STORE_URL": "b", "KUBECONFIG": "/other", "SLICEWARD_STORE__URL": "c"}
    got = load(_Daemon, file=file, environ=environ)
    assert (got.store.size, got.store.url, str(got.clusters[0].kubeconfig)) == (9, "c", "/mine")


def test_a_password_in_an_address_may_come_by_the_environment(tmp_path: Path) -> None:
    file = _file(tmp_path, "store: {url: 'postgresql://me@db/x'}\n")
    for name in ("SLICEWARD_STORE_URL", "SLICEWARD_STORE__URL"):
        assert load(_Daemon, file=file, environ={name: "postgresql://me:pw@db/x"}).store.url == "postgresql://me:pw@db/x"


def test_members_of_lists_and_maps_can_be_set_by_the_environment() -> None:
    environ = {"SLICEWARD_CLUSTERS__0__NAME": "c1", "SLICEWARD_CLUSTERS__1__NAME": "c2", "SLICEWARD_QUOTA__ML": "64"}
    got = load(_Daemon, file=None, environ=environ)
    assert [c.name for c in got.clusters] == ["c1", "c2"]
    assert got.quota == {"ml": 64}


def test_a_kubernetes_service_link_is_not_taken_for_a_key() -> None:
    assert load(_Daemon, file=None, environ={"SLICEWARD_PORT": "tcp://10.0.0.1:80", "SLICEWARD_CRDS": "/x"}) == _Daemon()


REFUSED = {
    "unknown key": ("stroe: {}", {}, "daemon.yaml: stroe", "unknown key", "Did you mean store?"),
    "unknown key in a list": ("clusters: [{name: a, kubconfig: /x}]", {}, "clusters[0].kubconfig", "unknown key", "kubeconfig"),
    "text for a number": ("store: {size: '5'}", {}, "store.size", "integer", "docs/configuration.md"),
    "word that YAML reads as a bool": ("log: {level: off}", {}, "log.level", "input should be", ""),
    "missing": ("clusters: [{}]", {}, "clusters[0].name", "is needed", "SLICEWARD_CLUSTERS__0__NAME"),
    "duration without unit": ("store: {busy: 5}", {}, "store.busy", "no duration", ""),
    "secret in the file": ("key: hunter2", {}, "key", "secrets do not stand in the file", "{file:"),
    "secret value form in the file": ("key: {value: hunter2}", {}, "key", "secrets do not stand in the file", "{file:"),
    "password in an address": (
        "clusters: [{name: a, broker: {url: 'mqtts://me:hunter2@broker:8883'}}]",
        {},
        "daemon.yaml: clusters[0].broker.url",
        "secrets do not stand in the file",
        "clusters[0].broker.password: {file: PATH}, or set the whole address by the environment, as SLICEWARD_CLUSTERS__0__BROKER__URL",
    ),
    "password in an address without such a key beside it": (
        "store: {url: 'postgresql://me:hunter2@db/x'}",
        {},
        "daemon.yaml: store.url",
        "secrets do not stand in the file",
        "Take it out of the address; set the whole address by the environment, as SLICEWARD_STORE__URL",
    ),
    "unknown variable": ("", {"SLICEWARD_STORE__SIZ": "1"}, "SLICEWARD_STORE__SIZ", "names no key", "Did you mean size?"),
    "unknown section": ("", {"SLICEWARD_STOR__SIZE": "1"}, "SLICEWARD_STOR__SIZE", "names no key", ""),
    "wrong type by variable": ("", {"SLICEWARD_STORE__SIZE": "many"}, "SLICEWARD_STORE__SIZE", "integer", ""),
    "gap in a list": ("", {"SLICEWARD_CLUSTERS__3__NAME": "x"}, "SLICEWARD_CLUSTERS__3__NAME", "member 3", "without a gap"),
    "short name with two clusters": (
        "clusters: [{name: a}, {name: b}]",
        {"SLICEWARD_CLUSTER": "c"},
        "SLICEWARD_CLUSTER",
        "lists 2",
        "Unset",
    ),
    "key twice": ("store: {}\nstore: {}", {}, "daemon.yaml:2:1", "stands twice", ""),
    "aliases": ("a: &a [x]\nb: *a", {}, "daemon.yaml:2", "aliases", ""),
    "list at the top": ("[1]", {}, "daemon.yaml", "mapping", ""),
    "no yaml": ("a: [", {}, "daemon.yaml", "", ""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_refused_with_where_why_and_what_to_do(name: str, tmp_path: Path) -> None:
    text, environ, where, why, what_to_do = REFUSED[name]
    with pytest.raises(Misconfigured) as caught:
        load(_Daemon, file=_file(tmp_path, text), environ=environ)
    assert where in caught.value.where
    assert why in caught.value.why
    assert what_to_do in caught.value.what_to_do
    assert "hunter2" not in str(caught.value)


def test_a_deep_or_large_file_is_refused_quickly(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="nested"):
        load(_Daemon, file=_file(tmp_path, "[" * 5000), environ={})
    with pytest.raises(Misconfigured, match="larger"):
        load(_Daemon, file=_file(tmp_path, "a" * (yaml_text.MOST_BYTES + 9)), environ={})


def test_an_absent_file_is_named() -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        load(_Daemon, file=Path("/nowhere.yaml"), environ={})


def test_a_secret_comes_by_file_or_variable_and_never_prints(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("hunter2\n")
    by_file = load(_Daemon, file=_file(tmp_path, f"key: {{file: {tmp_path / 's'}}}"), environ={})
    by_name = load(_Daemon, file=_file(tmp_path, "key: {env: MY}"), environ={"MY": "hunter2"})
    by_value = load(_Daemon, file=None, environ={"SLICEWARD_KEY": "hunter2"})
    by_named_file = load(_Daemon, file=None, environ={"SLICEWARD_KEY__FILE": str(tmp_path / "s")})
    for got in (by_file, by_name, by_value, by_named_file):
        assert got.key is not None
        assert got.key.reveal() == "hunter2"
        assert "hunter2" not in repr(got) + str(got) + got.model_dump_json()


def test_a_secret_that_is_not_there_is_named_when_it_is_used(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="variable GONE: holds no secret"):
        Secret(env="GONE", environ={}).reveal()
    with pytest.raises(Misconfigured, match="cannot be read as a secret"):
        Secret(file=tmp_path / "none").reveal()


def test_the_schema_accepts_what_load_accepts_and_refuses_what_it_refuses(tmp_path: Path) -> None:
    text = "clusters: [{name: a, broker: {url: 'mqtt://x', password: {file: /p}}}]\nstore: {busy: 3s}\n"
    load(_Daemon, file=_file(tmp_path, text), environ={})
    jsonschema.validate(yaml.safe_load(text), schema(_Daemon))
    json.dumps(schema(_Daemon))
    mistakes: list[dict[str, object]] = [{"stroe": {}}, {"key": "plain"}, {"store": {"busy": "3"}}]
    for wrong in mistakes:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema(_Daemon))


@pytest.mark.parametrize("text", ["250ms", "30s", "5m", "2h", "1d", "1.5h"])
def test_durations_read_back(text: str) -> None:
    value = parse_duration(text)
    assert isinstance(value, timedelta)
    assert parse_duration(print_duration(value)) == value


def test_a_broker_has_no_password_by_default() -> None:
    assert BrokerSettings().password is None
