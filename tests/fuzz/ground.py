"""What daemons stand on: a Mosquitto, a Kubernetes API with a fleet in it, and a client of the broker that says anything."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from hypothesis import HealthCheck, Phase, example, settings
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from sliceward.daemons.manifests.broker import Folders, config
from sliceward.simulation.controllers.client import connect
from sliceward.simulation.controllers.definitions import install_jobset
from sliceward.simulation.kube.server import running_api
from sliceward.simulation.kube.store import new_uid
from tests.builders import a_fleet
from tests.services import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator
    from pathlib import Path

    from sliceward.simulation.kube.kinds import Kind
    from sliceward.simulation.kube.server import EmulatedApi
    from tests.builders import FleetBuilder

Json = dict[str, Any]
Result = TypeVar("Result")
Test = TypeVar("Test", bound="Callable[..., None]")

PATIENCE = 60.0
"""Seconds for one thing to happen in another process, on a machine that does much else."""
CLUSTER = "c1"
QUEUES = [line for line in config(Folders()).splitlines() if line.startswith("max_queued_")]
"""What waits for a reader, as shipped. The limit of a message's size is not taken over: a broker of one's own may have none."""
FUZZ = settings(
    max_examples=200,
    derandomize=True,  # the same 200 everywhere: what is red in CI is red on a desk
    database=None,
    deadline=None,  # each example waits for another process, on machines that do much else
    phases=(Phase.explicit, Phase.generate),  # no shrinking: the process has heard more by then
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


def also(**known: Iterable[object]) -> Callable[[Test], Test]:
    """Put these to a test before what is drawn: what once broke something, in each of its forms. One name, many values."""
    ((name, values),) = known.items()

    def with_them(test: Test) -> Test:
        for value in values:
            test = example(**{name: value})(test)
        return test

    return with_them


def until(question: Callable[[], object], what: str, *, within: float = PATIENCE) -> None:
    """Wait until so."""
    end = time.monotonic() + within
    while not question():
        assert time.monotonic() < end, f"in vain: {what}"
        time.sleep(0.01)


class Stagehand(Protocol):
    """Does things in the loop that serves the API, for those outside of it."""

    def do(self, work: Coroutine[Any, Any, Result]) -> Result: ...


class Backstage:
    """An event loop on a thread of its own, for servers that live as long as a module."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="backstage", daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()


@dataclass(frozen=True, repr=False)
class Ground:
    """``broker``: its URL; ``api``: the emulated Kubernetes."""

    folder: Path
    broker: str
    api: EmulatedApi
    backstage: Stagehand
    client: Client

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish, and wait for the broker's word; what one says comes to each listener in this order."""
        said = self.client.publish(topic, payload, qos=1, retain=retain)
        said.wait_for_publish(PATIENCE)
        assert said.is_published()

    def kubeconfig(self, name: str) -> str:
        return str(self.api.write_kubeconfig(self.folder / f"kubeconfig-{name}"))


def the_fleet() -> FleetBuilder:
    """Three cubes and a spare; one gang of two slices, one of one."""
    return a_fleet().with_cubes(4).with_gang("train", slices=2).on("cube-0", "cube-1").with_gang("other", slices=1).on("cube-2")


PLURALS = ("nodes", "pods", "jobsets", "jobs")


async def _fill(api: EmulatedApi) -> None:
    """Put the fleet there as it stands once its controllers are done."""
    async with connect(api.url) as client:
        await install_jobset(client)
    objects = the_fleet().objects()
    for plural in PLURALS:
        for one in getattr(objects, plural):
            put(api, plural, one)


def put(api: EmulatedApi, plural: str, one: Json) -> None:
    """Write an object, within the server's loop; nothing is checked, so it may be worse than a server lets through."""
    one["metadata"].setdefault("uid", new_uid())
    api.store.put(kind_of(api, plural), one, None)


def kind_of(api: EmulatedApi, plural: str) -> Kind:
    return next(kind for key, kind in api.store.kinds.items() if key[2] == plural)


@contextmanager
def a_broker(folder: Path) -> Iterator[tuple[servers.Service, Client]]:
    """Run a Mosquitto; gives it with a client that says anything."""
    (folder / "mosquitto").mkdir()
    with servers.mosquitto(folder / "mosquitto", lines=QUEUES) as broker:
        client = Client(CallbackAPIVersion.VERSION2, client_id="rude")
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        try:
            yield broker, client
        finally:
            client.disconnect()
            client.loop_stop()


@contextmanager
def a_ground(folder: Path) -> Iterator[Ground]:
    with ExitStack() as stack:
        broker, client = stack.enter_context(a_broker(folder))
        backstage = Backstage()
        stack.callback(backstage.close)
        serving = running_api()
        api = backstage.do(serving.__aenter__())
        stack.callback(lambda: backstage.do(serving.__aexit__(None, None, None)))
        backstage.do(_fill(api))
        yield Ground(folder, broker.url, api, backstage, client)
