"""No secret leaves: not in errors of what cannot start, nor anywhere while everything fails around what runs."""

from __future__ import annotations

import asyncio
import io
import traceback
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import structlog
import yaml

from sliceward.daemons.agent.run import agent_of
from sliceward.daemons.agent.settings import AgentSettings
from sliceward.daemons.cli.config import MODELS
from sliceward.daemons.cli.main import main
from sliceward.daemons.coordinator import run as coordinator
from sliceward.daemons.coordinator.settings import CoordinatorSettings
from sliceward.daemons.settings import load
from sliceward.daemons.watcher import run as watcher
from sliceward.daemons.watcher.settings import WatcherSettings
from sliceward.topology.errors import SlicewardError
from tests.canaries import Canaries, secret_keys
from tests.services.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLANTED = {
    "coordinator": {
        "clusters[].broker.password",
        "store.password",
        "pagers[].secret",
        "pagers[].heartbeat.token",
        "provider.token",
        "api.tokens[].token",
    },
    "watcher": {"cluster.broker.password", "prometheus.token"},
    "agent": {"broker.password"},
}


@pytest.mark.parametrize("daemon", MODELS)
def test_each_secret_that_a_daemon_takes_is_one_that_is_planted_here(daemon: str) -> None:
    assert set(secret_keys(MODELS[daemon])) == PLANTED[daemon]


# ── what cannot start ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Place:
    """Files and variables of one daemon."""

    folder: Path
    canaries: Canaries = field(default_factory=Canaries)
    daemon: str = "coordinator"
    whole: dict[str, Any] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)

    def file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    def secret(self, name: str, text: str) -> dict[str, str]:
        return {"file": self.file(name, text)}


class Mistake(Protocol):
    """Makes a configuration with which nothing starts."""

    def __call__(self, at: Place) -> None: ...


def broker_password_in_the_file(at: Place) -> None:
    at.whole["clusters"][0]["broker"]["password"] = at.canaries.plain("broker")


def broker_password_unquoted(at: Place) -> None:
    at.environ["SLICEWARD_MQTT_URL"] = f"mqtt://me:{at.canaries.awkward('broker')}@127.0.0.1:1883"


def broker_password_before_a_bad_port(at: Place) -> None:
    at.environ["SLICEWARD_MQTT_URL"] = f"mqtt://me:{at.canaries.plain('broker')}@127.0.0.1:mqtt"


def broker_password_with_a_wrong_scheme(at: Place) -> None:
    at.environ["SLICEWARD_MQTT_URL"] = f"http://me:{at.canaries.plain('broker')}@127.0.0.1"


def broker_password_in_an_address_in_the_file(at: Place) -> None:
    at.whole["clusters"][0]["broker"]["url"] = f"mqtt://me:{at.canaries.awkward('broker')}@127.0.0.1:1883"


def watchers_broker_password(at: Place) -> None:
    at.daemon, at.whole = "watcher", {"cluster": {"name": "c1"}, "kubernetes": False}
    at.environ["SLICEWARD_MQTT_URL"] = f"mqtt://me:{at.canaries.awkward('broker')}@b"


def agents_broker_password(at: Place) -> None:
    at.daemon, at.whole = "agent", {"cluster": "c1", "node": "n", "generation": "tpu7x", "chips": 4, "state": str(at.folder)}
    at.whole |= {"kubernetes": {"enabled": False}}
    at.environ["SLICEWARD_MQTT_URL"] = f"mqtt://me:{at.canaries.awkward('broker')}@b"


def store_password_unquoted(at: Place) -> None:
    at.environ["SLICEWARD_STORE_URL"] = f"postgresql://me:{at.canaries.awkward('store')}@127.0.0.1/x"


def store_password_before_a_bad_port(at: Place) -> None:
    at.environ["SLICEWARD_STORE_URL"] = f"postgresql://me:{at.canaries.plain('store')}@127.0.0.1:pg/x"


def store_password_of_another_database(at: Place) -> None:
    at.environ["SLICEWARD_STORE_URL"] = f"mysql://me:{at.canaries.plain('store')}@127.0.0.1/x"


def store_password_at_a_database_that_is_away(at: Place) -> None:
    password = at.secret("store", at.canaries.awkward("store"))
    at.whole["store"] = {"url": f"postgresql://me@127.0.0.1:{free_port()}/x", "password": password}


def store_password_inside_its_address(at: Place) -> None:
    at.environ["SLICEWARD_STORE_URL"] = f"postgresql://me:{at.canaries.plain('store')}@127.0.0.1:{free_port()}/x"


def store_password_by_a_variable(at: Place) -> None:
    at.environ["SLICEWARD_STORE__PASSWORD"] = at.canaries.plain("store")
    at.whole["store"] = {"url": "postgresql://127.0.0.1/x"}


def store_password_as_a_parameter(at: Place) -> None:
    at.environ["SLICEWARD_STORE_URL"] = f"postgresql://127.0.0.1:{free_port()}/x?password={at.canaries.plain('store')}&nonsense=1"


def api_token_too_short(at: Place) -> None:
    at.whole["api"] = {"tokens": [{"name": "v", "token": at.secret("token", at.canaries.plain("token")[:12])}]}
    at.canaries.words["token"] = at.canaries.words["token"][:12]


def routing_key_of_another_length(at: Place) -> None:
    at.whole["pagers"] = [{"name": "p", "kind": "pagerduty", "secret": at.secret("key", at.canaries.plain("key"))}]


def signing_secret_that_is_none(at: Place) -> None:
    secret = at.secret("hook", at.canaries.plain("hook"))
    at.whole["pagers"] = [{"name": "p", "kind": "webhook", "url": "http://127.0.0.1:9", "secret": secret}]


def chat_address_of_another_scheme(at: Place) -> None:
    secret = at.secret("hook", at.canaries.signing("hook"))
    url = f"slack://services/{at.canaries.plain('address')}"
    at.whole["pagers"] = [{"name": "p", "kind": "webhook", "url": url, "secret": secret}]


def heartbeat_address_of_another_scheme(at: Place) -> None:
    heartbeat = {"url": f"ping://{at.canaries.plain('address')}", "token": at.secret("beat", at.canaries.plain("beat"))}
    at.whole["pagers"] = [{"name": "p", "kind": "console", "heartbeat": heartbeat}]


def provider_address_of_another_scheme(at: Place) -> None:
    at.whole["provider"] = {"kind": "http"}
    at.environ["SLICEWARD_PROVIDER__URL"] = f"ftp://me:{at.canaries.plain('provider')}@repairs"


def store_password_in_an_address_in_the_file(at: Place) -> None:
    at.whole["store"] = {"url": f"postgresql://me:{at.canaries.plain('store')}@127.0.0.1:{free_port()}/x"}


def provider_password_in_an_address_in_the_file(at: Place) -> None:
    at.whole["provider"] = {"kind": "http", "url": f"https://me:{at.canaries.awkward('provider')}@repairs"}


def kubeconfig_with_a_broken_token(at: Place) -> None:
    text = f"users:\n- name: u\n  user:\n    token: {at.canaries.plain('kubeconfig')}: broken: [\n"
    at.whole["clusters"][0]["kubeconfig"] = at.file("kubeconfig", text)


def kubeconfig_that_is_one_token(at: Place) -> None:
    at.whole["clusters"][0]["kubeconfig"] = at.file("kubeconfig", at.canaries.plain("kubeconfig"))


def kubeconfig_whose_plug_in_talks(at: Place) -> None:
    word = at.canaries.plain("kubeconfig")
    plug_in = at.file("plug-in", f"#!/bin/sh\necho {word}; echo not today >&2; exit 1\n")
    (at.folder / "plug-in").chmod(0o755)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": plug_in, "interactiveMode": "Never"}}
    at.whole["clusters"][0]["kubeconfig"] = at.file("kubeconfig", yaml.safe_dump(_kubeconfig(user)))


def kubeconfig_whose_plug_in_gives_a_bare_token(at: Place) -> None:
    plug_in = at.file("plug-in", f"#!/bin/sh\necho {at.canaries.plain('kubeconfig')}\n")
    (at.folder / "plug-in").chmod(0o755)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": plug_in, "interactiveMode": "Never"}}
    at.whole["clusters"][0]["kubeconfig"] = at.file("kubeconfig", yaml.safe_dump(_kubeconfig(user)))


def kubeconfig_with_a_key_that_is_none(at: Place) -> None:
    user = {"client-key-data": at.canaries.plain("kubeconfig"), "client-certificate-data": at.canaries.plain("certificate")}
    at.whole["clusters"][0]["kubeconfig"] = at.file("kubeconfig", yaml.safe_dump(_kubeconfig(user)))


def secret_where_a_name_belongs(at: Place) -> None:
    at.whole["clusters"][0]["broker"]["password"] = {"file": at.file("p", "x"), "value": at.canaries.plain("broker")}


def a_line_that_is_no_yaml(at: Place) -> None:
    at.environ["SLICEWARD_QUOTA__ML"] = f"[{at.canaries.plain('variable')}"


def _kubeconfig(user: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:9"}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "k", "user": "u"}}],
        "current-context": "here",
    }


MISTAKES: tuple[Mistake, ...] = (
    broker_password_in_the_file,
    broker_password_unquoted,
    broker_password_before_a_bad_port,
    broker_password_with_a_wrong_scheme,
    broker_password_in_an_address_in_the_file,
    watchers_broker_password,
    agents_broker_password,
    store_password_unquoted,
    store_password_before_a_bad_port,
    store_password_of_another_database,
    store_password_at_a_database_that_is_away,
    store_password_inside_its_address,
    store_password_by_a_variable,
    store_password_as_a_parameter,
    api_token_too_short,
    routing_key_of_another_length,
    signing_secret_that_is_none,
    chat_address_of_another_scheme,
    heartbeat_address_of_another_scheme,
    provider_address_of_another_scheme,
    store_password_in_an_address_in_the_file,
    provider_password_in_an_address_in_the_file,
    kubeconfig_with_a_broken_token,
    kubeconfig_that_is_one_token,
    kubeconfig_whose_plug_in_talks,
    kubeconfig_whose_plug_in_gives_a_bare_token,
    kubeconfig_with_a_key_that_is_none,
    secret_where_a_name_belongs,
    a_line_that_is_no_yaml,
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    before = structlog.get_config()
    cluster = {"name": "c1", "kubeconfig": str(tmp_path / "good"), "broker": {"url": "mqtt://127.0.0.1:9"}}
    (tmp_path / "good").write_text(yaml.safe_dump(_kubeconfig({})))
    yield Place(tmp_path, whole={"clusters": [cluster], "store": {"url": f"sqlite:///{tmp_path / 's.db'}"}})
    structlog.configure(**before)


async def _start(place: Place, file: Path) -> None:
    """Start a daemon as far as it comes."""
    match load(MODELS[place.daemon], file=file, environ=place.environ):
        case CoordinatorSettings() as settings:
            async with coordinator.running(settings):
                await asyncio.sleep(0)
        case WatcherSettings() as settings:
            async with watcher.running(settings):
                await asyncio.sleep(0)
        case AgentSettings() as settings:
            await agent_of(settings).run()


def _said(*arguments: str) -> str:
    """Give all that a command of ours prints."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(out), redirect_stderr(out):
        patched.setattr("sys.argv", ["sliceward", *arguments])
        with suppress(SystemExit):
            main()
    return out.getvalue()


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_what_cannot_start_says_so_without_a_secret(mistake: Mistake, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake(place)
    for name, value in place.environ.items():
        monkeypatch.setenv(name, value)
    path = place.folder / "daemon.yaml"
    path.write_text(yaml.safe_dump(place.whole))
    logged = io.StringIO()
    with redirect_stdout(logged), redirect_stderr(logged), pytest.raises(SlicewardError) as refused:
        asyncio.run(asyncio.wait_for(_start(place, path), 20))
    # What is told by us, and what a log would hold of it: the whole chain.
    told = "".join(traceback.format_exception(refused.value)) + logged.getvalue()
    told += _said("check", "--server", "http://127.0.0.1:9", f"--{place.daemon}", str(path), "-o", "json")
    told += _said("config", "check", place.daemon, str(path))
    told += _said(place.daemon, "--config", str(path), "--check")
    assert place.canaries.words
    assert place.canaries.in_text(told) == set(), told
