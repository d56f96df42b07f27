"""`sliceward check` finds each of these mistakes, names that one and nothing else, and says the right next step.

Every case is real: a wrong file or variable, a service that is away, is another one, or says no.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
import sqlite3
import subprocess
from contextlib import ExitStack, closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import yaml

from sliceward.daemons.store import open_store
from sliceward.playbooks.shipped import shipped
from tests.daemons.cli.misconfigured import (
    API_SERVER,
    REVIEWS,
    TOKEN,
    Answers,
    Place,
    a_certificate,
    a_kubeconfig,
    an_http_server,
    say_alive,
    tls_lines,
)
from tests.services import servers
from tests.services.processes import free_port, need_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.daemons.cli.conftest import Sliceward, Told


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.mosquitto(tmp_path_factory.mktemp("well")) as service:
        say_alive(service.url, "c1")
        yield service.url


@pytest.fixture
def place(tmp_path: Path, broker: str, request: pytest.FixtureRequest) -> Iterator[Place]:
    with ExitStack() as stack:
        kubeconfig = a_kubeconfig(tmp_path, stack.enter_context(an_http_server(Answers(API_SERVER))))
        whole = {
            "clusters": [{"name": "c1", "kubeconfig": str(kubeconfig), "broker": {"url": broker}}],
            "store": {"url": f"sqlite:///{tmp_path / 'store.db'}"},
        }
        yield Place(tmp_path, request, stack, whole)


class Spoiler(Protocol):
    """Spoils one thing."""

    def __call__(self, at: Place) -> None: ...


# ── the broker ────────────────────────────────────────────────────────────────────────────────────────────────────────


def wrong_broker_password(at: Place) -> None:
    at.file("passwords", "coordinator:right\n")
    subprocess.run([need_program("mosquitto_passwd"), "-U", at.folder / "passwords"], check=True)  # noqa: S603 (found there)
    at.folder.joinpath("passwords").chmod(0o644)
    url = at.mosquitto(f"password_file {at.folder / 'passwords'}").url
    at.cluster["broker"] = {"url": url, "username": "coordinator", "password": {"file": at.file("password", "wrong")}}


def no_tls_where_tls_is_asked(at: Place) -> None:
    at.cluster["broker"]["url"] = at.mosquitto().url.replace("mqtt:", "mqtts:")


def tls_where_none_is_asked(at: Place) -> None:
    at.cluster["broker"]["url"] = at.mosquitto(*tls_lines(a_certificate(at.folder, "broker"))).url


def another_ca(at: Place) -> None:
    url = at.mosquitto(*tls_lines(a_certificate(at.folder, "broker"))).url.replace("mqtt:", "mqtts:")
    at.cluster["broker"] = {"url": url, "ca_file": str(a_certificate(at.folder, "other"))}


def ca_file_missing(at: Place) -> None:
    url = at.mosquitto(*tls_lines(a_certificate(at.folder, "broker"))).url.replace("mqtt:", "mqtts:")
    at.cluster["broker"] = {"url": url, "ca_file": str(at.folder / "none.crt")}


def _asking_broker(at: Place) -> None:
    """Run a broker that asks its clients for a certificate by an authority of their own."""
    lines = (*tls_lines(a_certificate(at.folder, "broker")), f"cafile {a_certificate(at.folder, 'clients')}")
    url = at.mosquitto(*lines, "require_certificate true", "use_identity_as_username true").url.replace("mqtt:", "mqtts:")
    at.cluster["broker"] = {"url": url, "ca_file": str(at.folder / "broker.crt")}


def no_certificate_of_ours(at: Place) -> None:
    _asking_broker(at)


def certificate_by_another_authority(at: Place) -> None:
    _asking_broker(at)
    ours = a_certificate(at.folder, "ours")
    at.cluster["broker"] |= {"cert_file": str(ours), "key_file": str(ours.with_suffix(".key"))}


def key_of_another_certificate(at: Place) -> None:
    _asking_broker(at)
    key = a_certificate(at.folder, "ours").with_suffix(".key")
    at.cluster["broker"] |= {"cert_file": str(at.folder / "clients.crt"), "key_file": str(key)}


def broker_away(at: Place) -> None:
    at.cluster["broker"]["url"] = f"mqtt://127.0.0.1:{free_port()}"


def broker_is_a_web_server(at: Place) -> None:
    at.cluster["broker"]["url"] = at.http(Answers()).replace("http:", "mqtt:")


def another_cluster_name(at: Place) -> None:
    at.cluster["name"] = "c2"


def watcher_gone(at: Place) -> None:
    url = at.mosquitto().url
    say_alive(url, "c1", gone="connection lost")
    at.cluster["broker"]["url"] = url


def watcher_never_spoke(at: Place) -> None:
    at.cluster["broker"]["url"] = at.mosquitto().url


def agent_of_another_cluster(at: Place) -> None:
    agent = {"cluster": "c7", "node": "n", "broker": at.cluster["broker"]}
    at.others = ("--agent", at.file("agent.yaml", yaml.safe_dump(agent)))


# ── the store ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def store_not_writable(at: Place) -> None:
    at.whole["store"]["url"] = "sqlite:////proc/sliceward.db"


def store_folder_missing(at: Place) -> None:
    at.whole["store"]["url"] = f"sqlite:///{at.folder}/none/store.db"


def newer_store(at: Place) -> None:
    asyncio.run(made(at.whole["store"]["url"]))
    with closing(sqlite3.connect(at.folder / "store.db")) as connection, connection:
        connection.execute("UPDATE schema_version SET version_num = '9999'")


def wrong_postgres_user(at: Place) -> None:
    url = str(at.request.getfixturevalue("postgres"))
    at.whole["store"]["url"] = url.replace("postgresql+asyncpg", "postgresql").replace("sliceward@", "nobody@")


async def made(url: str) -> None:
    """Make a store as the coordinator does."""
    async with open_store(url):
        pass


def no_such_database(at: Place) -> None:
    url = at.request.getfixturevalue("postgres_server").url
    at.whole["store"]["url"] = url.replace("postgresql+asyncpg", "postgresql").replace("/postgres", "/none")


def postgres_away(at: Place) -> None:
    at.whole["store"]["url"] = f"postgresql://sliceward@127.0.0.1:{free_port()}/x"


# ── Kubernetes ────────────────────────────────────────────────────────────────────────────────────────────────────────


def kubeconfig_missing(at: Place) -> None:
    at.cluster["kubeconfig"] = str(at.folder / "none")


def context_missing(at: Place) -> None:
    at.cluster["context"] = "elsewhere"


def api_server_away(at: Place) -> None:
    at.cluster["kubeconfig"] = str(a_kubeconfig(at.folder, f"http://127.0.0.1:{free_port()}"))


def token_not_known(at: Place) -> None:
    at.api_server(Answers(otherwise=401))


def clock_is_behind(at: Place) -> None:
    at.api_server(Answers(API_SERVER, behind=timedelta(minutes=5)))


def no_right(at: Place) -> None:
    """All rights but one, at a real API server, for playbooks that may act."""
    kubectl = [str(at.request.getfixturevalue("kubectl")), "--kubeconfig", str(at.request.getfixturevalue("control_plane"))]

    def call(*words: str, given: str = "") -> str:
        done = subprocess.run([*kubectl, *words], check=True, capture_output=True, text=True, input=given)  # noqa: S603 (as above)
        return done.stdout.strip()

    rules = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch", "create", "delete"]},
        {"apiGroups": ["batch", "jobset.x-k8s.io"], "resources": ["*"], "verbs": ["patch"]},
    ]
    api, who = "rbac.authorization.k8s.io", {"kind": "ServiceAccount", "name": "checked", "namespace": "default"}
    made = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "checked"}},
        {"apiVersion": f"{api}/v1", "kind": "ClusterRole", "metadata": {"name": "checked"}, "rules": rules},
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "checked"},
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "checked"},
            "subjects": [who],
        },
    ]
    call("apply", "--namespace", "default", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": made}))
    config = yaml.safe_load(call("config", "view", "--raw", "--minify"))
    config["users"][0]["user"] = {"token": call("create", "token", "checked", "--namespace", "default")}
    at.cluster["kubeconfig"] = at.file("real", yaml.safe_dump(config))
    at.whole["playbooks"] = {"mode": "Enforce"}


def no_right_to_read(at: Place) -> None:
    at.api_server(Answers(API_SERVER | {REVIEWS: (201, {"status": {"allowed": False}})}))


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def lease_over_sqlite(at: Place) -> None:
    at.whole["leader"] = {"lease": "sliceward-coordinator"}


def cluster_of_the_lease_away(at: Place) -> None:
    elsewhere = at.folder / "elsewhere"
    elsewhere.mkdir()
    url = str(at.request.getfixturevalue("postgres")).replace("+asyncpg", "")
    at.whole["store"]["url"] = url
    kubeconfig = a_kubeconfig(elsewhere, f"http://127.0.0.1:{free_port()}")
    at.whole["leader"] = {"lease": "sliceward-coordinator", "kubeconfig": str(kubeconfig)}


def short_token(at: Place) -> None:
    token = {"name": "viewer", "role": "view", "token": {"file": at.file("short", "secret")}}
    at.whole["api"] = {"tokens": [token]}


def token_file_missing(at: Place) -> None:
    at.whole["provider"] = {"kind": "nobody", "token": {"file": str(at.folder / "none")}}


def unknown_action(at: Place) -> None:
    name, text = next((name, text) for name, text in shipped().items() if "domain.mark" in text)
    at.file(f"books/{name.rpartition('/')[2]}", text.replace("domain.mark", "domain.mrak"))
    at.whole["playbooks"] = {"folders": [str(at.folder / "books")]}


def empty_playbook_folder(at: Place) -> None:
    (at.folder / "books").mkdir()
    at.whole["playbooks"] = {"folders": [str(at.folder / "books")]}


def broken_alert_map(at: Place) -> None:
    path = at.file("alerts.yaml", "rules: [{alert: A, kind: ChipLots, part: '{cluster}/host/{node}'}]")
    at.whole["alerts"] = {"map": path}


def unknown_generation(at: Place) -> None:
    at.whole["quota"] = {"ml": {"tpu7y": 256}}


def unknown_key(at: Place) -> None:
    at.text = yaml.safe_dump(at.whole | {"stroe": {}})


def unknown_variable(at: Place) -> None:
    at.environ["SLICEWARD_STORE__ULR"] = "sqlite:////x.db"


def two_clusters_of_one_name(at: Place) -> None:
    at.whole["clusters"].append(copy.deepcopy(at.cluster))


def secret_in_the_file(at: Place) -> None:
    at.cluster["broker"]["password"] = TOKEN


# ── pagers, provider, Prometheus ──────────────────────────────────────────────────────────────────────────────────────


def pager_answers_404(at: Place) -> None:
    at.pager(at.http(Answers()) + "/pages")


def pager_answers_401(at: Place) -> None:
    at.pager(at.http(Answers(otherwise=401)) + "/pages")


def pager_redirects(at: Place) -> None:
    at.pager(at.http(Answers(otherwise=302)) + "/pages")


def pager_away(at: Place) -> None:
    at.pager(f"http://127.0.0.1:{free_port()}/{TOKEN}")


def pager_secret_is_none(at: Place) -> None:
    at.pager(at.http(Answers(otherwise=405)), text="not base64!")


def provider_away(at: Place) -> None:
    at.whole["provider"] = {"kind": "http", "url": f"http://127.0.0.1:{free_port()}"}


def provider_says_no(at: Place) -> None:
    token = {"file": at.file("provider-token", TOKEN)}
    at.whole["provider"] = {"kind": "http", "url": at.http(Answers(otherwise=401)), "token": token}


def _watcher(at: Place, url: str) -> None:
    watcher = {"cluster": at.cluster, "prometheus": {"url": url}}
    at.others = ("--watcher", at.file("watcher.yaml", yaml.safe_dump(watcher)))


def prometheus_away(at: Place) -> None:
    _watcher(at, f"http://127.0.0.1:{free_port()}")


def prometheus_is_something_else(at: Place) -> None:
    _watcher(at, at.http(Answers(otherwise=200)))


# mistake -> the line that tells it: what it is about, what was found, the next step
MISTAKES: dict[Spoiler, tuple[str, str, str]] = {
    wrong_broker_password: ("broker of c1, from here", "does not let us in", "broker.username and broker.password"),
    no_tls_where_tls_is_asked: ("broker of c1, from here", "does not speak TLS", "Write mqtt://"),
    tls_where_none_is_asked: ("broker of c1, from here", "does not speak MQTT", "mqtts://"),
    another_ca: ("broker of c1, from here", "not trusted", "broker.ca_file"),
    ca_file_missing: ("broker of c1, from here", "none.crt: cannot be used", "PEM"),
    no_certificate_of_ours: ("broker of c1, from here", "or misses it: certificate required", "broker.cert_file"),
    certificate_by_another_authority: ("broker of c1, from here", "does not take our certificate", "broker.cert_file"),
    key_of_another_certificate: ("broker of c1, from here", "ours.key: cannot be used: [X509: KEY_VALUES_MISMATCH]", "its key"),
    broker_away: ("broker of c1, from here", "does not answer", "Start the broker"),
    broker_is_a_web_server: ("broker of c1, from here", "does not speak MQTT", "Is that a broker"),
    another_cluster_name: ("watcher of c2, at the broker", "knows watchers of c1 and none of c2", "Did you mean c1?"),
    watcher_gone: ("watcher of c1, at the broker", "it is gone: connection lost", "Start it again"),
    watcher_never_spoke: ("watcher of c1, at the broker", "none has ever spoken", "Start `sliceward watcher`"),
    agent_of_another_cluster: ("cluster of the agent", "c7 is none of the coordinator's (c1)", "same name in both"),
    store_not_writable: ("store, from here", "/proc/sliceward.db cannot be written", "Give the daemon's user the right"),
    store_folder_missing: ("store, from here", "folder of", "Make it"),
    newer_store: ("store, from here", "another, newer sliceward (revision 9999", "Run that version"),
    wrong_postgres_user: ("store, from here", "does not let nobody in", "store.password"),
    no_such_database: ("store, from here", 'database "none" does not exist', "createdb none"),
    postgres_away: ("store, from here", "127.0.0.1 does not answer", "Start PostgreSQL"),
    kubeconfig_missing: ("API server of c1, from here", "none", "kubeconfig file and context"),
    context_missing: ("API server of c1, from here", "elsewhere", "kubeconfig file and context"),
    api_server_away: ("API server of c1, from here", "GET /version", "server's address in the kubeconfig"),
    token_not_known: ("API server of c1, from here", "401", "renew it"),
    clock_is_behind: ("clock of c1", "s behind ours", "NTP"),
    no_right: ("rights in c1", "we may not patch nodes, which", "sliceward manifests"),
    lease_over_sqlite: ("configuration of the coordinator", "SQLite of its own", "docs/configuration.md"),
    cluster_of_the_lease_away: ("API server of the Lease, from here", "GET /version", "server's address in the kubeconfig"),
    short_token: ("API tokens", "token viewer: has less than 16 characters", "openssl rand -hex 32"),
    token_file_missing: ("secret provider.token of the coordinator", "cannot be read as a secret", "Mount the secret"),
    unknown_action: ("playbooks", "'domain.mrak' is no action", "Did you mean 'domain.mark'?"),
    empty_playbook_folder: ("playbooks", "holds no YAML file", "Name a folder with playbooks"),
    broken_alert_map: ("alert map", "rules.0.kind", "docs/how-to/alerts-in.md"),
    unknown_generation: ("quota", "is no TPU generation", "Did you mean 'tpu7x'?"),
    unknown_key: ("configuration of the coordinator", "stroe: unknown key", "Did you mean store?"),
    unknown_variable: ("configuration of the coordinator", "SLICEWARD_STORE__ULR: names no key", "Did you mean url?"),
    two_clusters_of_one_name: ("configuration of the coordinator", "the name 'c1' stands twice", "docs/configuration.md"),
    secret_in_the_file: ("configuration of the coordinator", "secrets do not stand in the file", "Write {file:"),
    pager_answers_404: ("pager chat", "nobody takes pages at its address (HTTP 404)", "Correct the pager's url"),
    pager_answers_401: ("pager chat", "does not let us in (HTTP 401)", "key in its url"),
    pager_redirects: ("pager chat", "redirects (HTTP 302)", "final address"),
    pager_away: ("pager chat", "does not answer", "Start the receiver"),
    pager_secret_is_none: ("pager chat", "is not 24 to 64 bytes in base64", "whsec_"),
    provider_away: ("provider of repairs", "does not answer", "provider.url"),
    provider_says_no: ("provider of repairs", "says no", "provider.token"),
    prometheus_away: ("Prometheus, from here", "does not answer", "Correct its url"),
    prometheus_is_something_else: ("Prometheus, from here", "is no Prometheus (HTTP 200)", "Correct its url"),
}


def told_lines(place: Place, sliceward: Sliceward, monkeypatch: pytest.MonkeyPatch) -> Sequence[dict[str, Any]]:
    for name, value in place.environ.items():
        monkeypatch.setenv(name, value)
    ran = sliceward("check", "-o", "json", *place.arguments())
    assert TOKEN not in ran.out + ran.err
    lines: list[dict[str, Any]] = json.loads(ran.out)
    assert ran.code == int(any(not line["ok"] for line in lines)), ran.out
    return lines


def test_a_place_where_all_is_well_has_no_mistake(
    place: Place, told: Told, sliceward: Sliceward, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.pager(place.http(Answers(otherwise=405)))
    place.whole["provider"] = {"kind": "http", "url": place.http(Answers()), "token": {"file": place.file("t", TOKEN)}}
    lines = told_lines(place, sliceward, monkeypatch)
    assert [line for line in lines if not line["ok"]] == []
    assert {"store, from here", "clock of c1", "rights in c1", "pager chat", "provider of repairs"} <= {
        line["about"] for line in lines
    }
    assert told.stage.address in lines[0]["found"]
    assert not (place.folder / "store.db").exists()


@pytest.mark.parametrize("spoil", MISTAKES, ids=lambda spoil: spoil.__name__)
@pytest.mark.usefixtures("told")
def test_a_mistake_is_found_alone_with_its_next_step(
    spoil: Spoiler, place: Place, sliceward: Sliceward, monkeypatch: pytest.MonkeyPatch
) -> None:
    about, found, hint = MISTAKES[spoil]
    spoil(place)
    wrong = [line for line in told_lines(place, sliceward, monkeypatch) if not line["ok"]]
    assert {line["about"] for line in wrong} == {about}, wrong
    assert found in wrong[0]["found"]
    assert hint in wrong[0]["what_to_do"]
    if spoil is not no_right:
        assert len(wrong) == 1, wrong


def test_each_right_that_is_missing_has_its_line(
    place: Place, told: Told, sliceward: Sliceward, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told.stage.address
    no_right_to_read(place)
    wrong = [line for line in told_lines(place, sliceward, monkeypatch) if not line["ok"]]
    assert {line["about"] for line in wrong} == {"rights in c1"}
    assert "we may not list nodes, which reading needs (403)" in {line["found"] for line in wrong}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.usefixtures("told")
def test_a_store_is_looked_at_and_left_as_it_is(
    kind: str, place: Place, sliceward: Sliceward, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "postgresql":
        place.whole["store"]["url"] = str(place.request.getfixturevalue("postgres")).replace("+asyncpg", "")

    def found() -> str:
        (line,) = [line for line in told_lines(place, sliceward, monkeypatch) if line["about"] == "store, from here"]
        assert line["ok"], line
        return str(line["found"])

    assert found().endswith("can be written to, nothing in it yet")
    assert found().endswith("nothing in it yet")
    asyncio.run(made(place.whole["store"]["url"]))
    assert re.search(r"can be written to, revision \d+$", found())


@pytest.mark.usefixtures("told")
def test_a_real_prometheus_is_told_with_its_version(
    place: Place, tmp_path: Path, sliceward: Sliceward, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prometheus").mkdir()
    _watcher(place, place.stack.enter_context(servers.prometheus(tmp_path / "prometheus", config="")).url)
    lines = told_lines(place, sliceward, monkeypatch)
    assert next(line["found"] for line in lines if line["about"] == "Prometheus, from here").startswith("Prometheus 2.")
    assert [line for line in lines if not line["ok"]] == []
