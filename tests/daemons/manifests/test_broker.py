"""The example broker as it is deployed, on a real Mosquitto: who may say and hear what, and nothing beside it."""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import aiomqtt
import pytest

from sliceward.daemons.agent.run import agent_of
from sliceward.daemons.agent.settings import AgentSettings
from sliceward.daemons.coordinator import side
from sliceward.daemons.manifests.broker import EACH_HOST, QUEUED_BYTES, acl, grants, objects
from sliceward.daemons.manifests.install import COORDINATOR_USER, WATCHER_USER
from sliceward.daemons.settings import load
from sliceward.daemons.watcher import watcher
from sliceward.daemons.wire import Message, Wire, WireOptions
from tests.daemons.manifests.deployed import Broker, an_install, broker_as_deployed
from tests.services.processes import need_program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ROOT = "sliceward/v1/c1"
USERS = ("h1", "h2", WATCHER_USER, COORDINATOR_USER)
OF_HOSTS = {f"{ROOT}/hosts/{host}/{leaf}" for host in ("h1", "h2") for leaf in ("frame", "event", "status", "request")}
OTHERS = {
    f"{ROOT}/findings/f1",
    f"{ROOT}/gangs/g1/progress",
    f"{ROOT}/watcher/status",
    f"{ROOT}/hosts/h1/other",
    f"{ROOT}/hosts/h1/frame/more",
    "sliceward/v1/c2/hosts/h1/frame",
    "sliceward/v1/c2/findings/f1",
    "elsewhere",
}
MAY_SAY = {
    "h1": {f"{ROOT}/hosts/h1/frame", f"{ROOT}/hosts/h1/event", f"{ROOT}/hosts/h1/status"},
    "h2": {f"{ROOT}/hosts/h2/frame", f"{ROOT}/hosts/h2/event", f"{ROOT}/hosts/h2/status"},
    WATCHER_USER: {f"{ROOT}/findings/f1", f"{ROOT}/gangs/g1/progress", f"{ROOT}/watcher/status"},
    COORDINATOR_USER: {f"{ROOT}/hosts/h1/request", f"{ROOT}/hosts/h2/request"},
}
MAY_HEAR = {
    "h1": {f"{ROOT}/hosts/h1/request"},
    "h2": {f"{ROOT}/hosts/h2/request"},
    WATCHER_USER: {f"{ROOT}/hosts/h1/frame", f"{ROOT}/hosts/h2/frame", f"{ROOT}/findings/f1", f"{ROOT}/gangs/g1/progress"},
    COORDINATOR_USER: {
        f"{ROOT}/findings/f1",
        f"{ROOT}/gangs/g1/progress",
        f"{ROOT}/watcher/status",
        f"{ROOT}/hosts/h1/event",
        f"{ROOT}/hosts/h2/event",
    },
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    everything = "\nuser admin\ntopic readwrite #\n"
    with broker_as_deployed(tmp_path_factory.mktemp("broker"), cluster="c1", nodes=["h1", "h2"], more_acl=everything) as deployed:
        yield deployed


def client(broker: Broker, user: str, **more: Any) -> aiomqtt.Client:  # noqa: ANN401 (arguments of aiomqtt's)
    given: dict[str, Any] = {"username": user, "password": broker.password(user)}
    given["tls_context"] = ssl.create_default_context(cafile=broker.ca)
    given["tls_context"].verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 does by itself
    return aiomqtt.Client("127.0.0.1", broker.port, **(given | more))


def wire_of(broker: Broker, user: str, client_id: str, will: Message | None = None, *, patience: float = 0.01) -> Wire:
    options = WireOptions(
        username=user, password=broker.password(user), ca_file=broker.ca, first_wait=patience, longest_wait=patience
    )
    return Wire(broker.url, client_id=client_id, will=will, options=options)


async def heard(listener: aiomqtt.Client, *, until: str) -> set[tuple[str, str]]:
    """Give topic and text of each message up to the one whose text is ``until``."""
    found: set[tuple[str, str]] = set()
    async with asyncio.timeout(20):
        async for message in listener.messages:
            text = bytes(message.payload).decode()
            if text == until:
                return found
            found.add((message.topic.value, text))
    raise AssertionError("the broker hung up")


async def test_each_user_says_what_it_may_and_nothing_else(broker: Broker) -> None:
    async with client(broker, "admin") as admin:
        await admin.subscribe("#", qos=1)
        for user in USERS:
            async with client(broker, user) as speaker:
                for topic in OF_HOSTS | OTHERS:
                    # What is forbidden is acknowledged and dropped (MQTT 3.1.1 has no other word for it).
                    await speaker.publish(topic, user, qos=1)
        await admin.publish("end", "end", qos=1)
        told = await heard(admin, until="end")
    said: dict[str, set[str]] = defaultdict(set)
    for topic, user in told:
        said[user].add(topic)
    assert said == MAY_SAY


@pytest.mark.parametrize("user", USERS)
async def test_each_user_hears_what_it_may_and_nothing_else(broker: Broker, user: str) -> None:
    async with client(broker, "admin") as admin, client(broker, user) as listener:
        await listener.subscribe([("#", 1), ("$SYS/#", 1)])
        for topic in OF_HOSTS | OTHERS:
            await admin.publish(topic, "text", qos=1)
        await admin.publish(min(MAY_HEAR[user]), "end", qos=1)
        assert {topic for topic, _ in await heard(listener, until="end")} == MAY_HEAR[user]


@asynccontextmanager
async def dying(broker: Broker, user: str, will: str) -> AsyncIterator[None]:
    """A client that is connected inside the block, and dies without a word at its end."""
    named = ["-h", "127.0.0.1", "-p", str(broker.port), "--cafile", str(broker.ca), "-u", user, "-P", broker.password(user)]
    last = ["--will-topic", will, "--will-payload", will, "--will-qos", "1", "-q", "1", "-t", f"{ROOT}/hosts/{user}/request"]
    process = await asyncio.create_subprocess_exec(need_program("mosquitto_sub"), *named, *last, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async with client(broker, "admin") as admin, asyncio.timeout(20):
        await admin.publish(f"{ROOT}/hosts/{user}/request", "hello", qos=1, retain=True)
        assert await process.stdout.readline() == b"hello\n"
        await admin.publish(f"{ROOT}/hosts/{user}/request", b"", qos=1, retain=True)
    yield
    process.kill()
    await process.communicate()


async def test_a_host_leaves_a_last_will_in_its_own_name_alone(broker: Broker) -> None:
    async with client(broker, "admin") as admin:
        await admin.subscribe("#", qos=1)
        for will in (f"{ROOT}/hosts/h2/status", f"{ROOT}/hosts/h1/status"):
            async with dying(broker, "h1", will):
                pass
        found = await heard(admin, until=f"{ROOT}/hosts/h1/status")
    assert {topic for topic, _ in found if topic.endswith("status")} == set()


@pytest.mark.parametrize(
    "given",
    [
        {"username": None, "password": None},
        {"password": "another"},
        {"username": "h3"},
        {"username": WATCHER_USER},
        {"tls_context": None},
    ],
    ids=["nobody", "wrong password", "unknown host", "password of another", "without TLS"],
)
async def test_who_is_not_known_is_not_let_in(broker: Broker, given: dict[str, Any]) -> None:
    with pytest.raises(aiomqtt.MqttError):
        async with client(broker, "h1", timeout=2, **given):
            pass


async def test_a_broker_that_our_authority_did_not_sign_is_told_apart(broker: Broker) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection("127.0.0.1", broker.port, ssl=ssl.create_default_context())


def topics(user: str, access: str) -> set[str]:
    return {grant.topic for grant in grants("c1")[user] if access in grant.access}


def test_what_is_granted_to_hear_is_what_is_subscribed() -> None:
    assert topics(WATCHER_USER, "read") == set(watcher.subscriptions("c1"))
    assert topics(COORDINATOR_USER, "read") == set(side.subscriptions("c1"))


def test_an_agents_subscription_and_last_will_fit_its_pattern() -> None:
    names = {"SLICEWARD_CLUSTER": "c1", "SLICEWARD_NODE_NAME": "h1", "SLICEWARD_MQTT_URL": "mqtt://broker"}
    wanted = agent_of(load(AgentSettings, file=None, environ=names)).connection()
    assert {topic.replace(EACH_HOST, "h1") for topic in topics(EACH_HOST, "read")} == set(wanted.subscribe)
    assert wanted.will.topic in {topic.replace(EACH_HOST, "h1") for topic in topics(EACH_HOST, "write")}


def test_no_node_can_be_named_like_a_process() -> None:
    assert all("_" in user for user in (WATCHER_USER, COORDINATOR_USER))
    assert acl("c1").count("pattern") == len(grants("c1")[EACH_HOST])


def test_readers_that_are_held_up_cost_the_broker_half_of_its_memory_at_most() -> None:
    (deployment,) = (found for found in objects(an_install()) if found["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == "1Gi"
    readers = [user for user in (WATCHER_USER, COORDINATOR_USER) if topics(user, "read")]
    assert len(readers) * QUEUED_BYTES <= 2**30 / 2
    (config,) = (found["data"]["mosquitto.conf"] for found in objects(an_install()) if "mosquitto.conf" in found.get("data", {}))
    assert f"max_queued_bytes {QUEUED_BYTES}" in config.splitlines()


def test_a_broker_of_ones_own_brings_no_other() -> None:
    assert objects(an_install(broker_url="mqtts://broker.example:8883")) == ()


class Life:
    """A wire that runs, and how often it was connected."""

    def __init__(self, wire: Wire) -> None:
        self.wire, self.times, self._connected = wire, 0, asyncio.Event()

    async def _note(self) -> None:
        self.times += 1
        self._connected.set()

    @asynccontextmanager
    async def lived(self) -> AsyncIterator[Self]:
        """Run it, from the moment on at which it is connected."""
        task = asyncio.create_task(self.wire.run(lambda _: None, self._note))
        try:
            async with asyncio.timeout(30):
                await self._connected.wait()
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("user", ["h2", WATCHER_USER])
async def test_a_host_cannot_throw_out_another_under_its_client_id_nor_send_its_last_will(broker: Broker, user: str) -> None:
    will = Message(f"{ROOT}/hosts/h2/status" if user == "h2" else f"{ROOT}/watcher/status", b"last will", retain=False)
    known = "sliceward-agent-c1-h2" if user == "h2" else "sliceward-watcher-c1-pod-1"
    async with client(broker, "admin") as admin:
        await admin.subscribe("#", qos=1)
        async with Life(wire_of(broker, user, known, will)).lived() as victim, Life(wire_of(broker, "h1", known)).lived():
            async with client(broker, "h1", identifier=known):
                await admin.publish("elsewhere", "end", qos=1)
                said = await heard(admin, until="end")
            assert (victim.wire.connected, victim.times) == (True, 1)
    assert will.topic not in {topic for topic, text in said if text == "last will"}


async def test_a_host_that_lives_again_takes_over_from_its_former_life(broker: Broker) -> None:
    former, now = (Life(wire_of(broker, "h2", "sliceward-agent-c1-h2", patience=60.0)) for _ in range(2))
    async with former.lived(), now.lived():
        for _ in range(1000):
            if not former.wire.connected:
                break
            await asyncio.sleep(0.01)
        assert (former.wire.connected, now.wire.connected) == (False, True)
