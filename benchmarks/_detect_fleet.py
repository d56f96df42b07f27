"""``_detect_fleet.py MQTT_PORT HTTP_PORT HOSTS PERIOD TICKS``: hosts that tell the same readings twice: as frames over MQTT, and to whoever scrapes them.

One path a host (``/HOST``). Prints a line after the last tick, and goes on answering until it is ended. Frames are written as `_frames` does, pages are
plain text without a word of help: neither side has more to read than its readings.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from benchmarks._fleet import CHIPS, CLUSTER, PORTS, hosts_of
from benchmarks._frames import connect, publish
from sliceward.daemons import topics
from sliceward.detectors.frame import column_sizes, entities, pack
from sliceward.detectors.metrics import CATALOGUE, EntityKind, Metric, Shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

VARIANTS = 16
STEP = 0.02
"""Seconds between two bursts."""
METRICS = tuple(CATALOGUE[name] for name in column_sizes(CHIPS, PORTS))
"""All that an agent can read."""
SERIES = sum(entities(metric.kind, chips=CHIPS, ports=PORTS) for metric in METRICS)
WELL = {"chip_present": 1.0, "host_disk_writable": 1.0, "host_disk_free_percent": 60.0, "chip_duty_cycle_percent": 50.0}
ROWS = frozenset({"chip_pcie_aer_correctable_total"})
"""Counters that rise by one a tick on hosts that are well."""
SICK: Mapping[str, tuple[str, int, Callable[[int], float]]] = {
    "chip-slowed": ("chip_throttle_score", 1, lambda _: 7.0),
    "hbm-lost": ("chip_hbm_uncorrectable_total", 2, lambda tick: tick // 20),
    "link-down": ("link_health", 15, lambda _: 10.0),
    "disk-full": ("host_disk_free_percent", 0, lambda _: 1.0),
    "sources-old": ("host_source_age_holders_seconds", 0, lambda tick: 10.0 * tick),
}
"""By the rule that finds it: the metric, which of its entities shows it, and what that says at a tick. One host of each."""
SILENT, LAST_WORD = "host-silent", 0.6
"""What a host is that says nothing after this share of the ticks."""
APART = 50
"""Hosts from one that is not well to the next."""


def sick_hosts(hosts: int) -> dict[int, str]:
    """Give which hosts are not well, and by which rule that is found."""
    return {APART * n + 7: rule for n, rule in enumerate((*SICK, SILENT)) if APART * n + 7 < hosts}


def expected(hosts: int) -> set[tuple[str, str]]:
    """Give rule and host of all that is to be found: a link that is down is poor, too."""
    names = hosts_of(hosts)
    found = {(rule, names[host]) for host, rule in sick_hosts(hosts).items()}
    return found | {("link-poor", host) for rule, host in found if rule == "link-down"}


def values(metric: Metric, tick: int, variant: int, rule: str) -> list[float]:
    """Give a reading of each entity of a host."""
    count = entities(metric.kind, chips=CHIPS, ports=PORTS)
    if metric.shape is Shape.COUNTER:
        each = 7.0 + (tick if metric.name in ROWS else 0)
    else:
        each = WELL.get(metric.name, 0.0) + (0 if metric.unit == "1" else (3 * variant + tick) % 7)
    found = [each] * count
    name, place, says = SICK.get(rule, ("", 0, float))
    if metric.name == name:
        found[place] = says(tick)
    return found


@lru_cache(maxsize=4 * VARIANTS)
def columns(tick: int, variant: int, rule: str) -> msgspec.Raw:
    """Give the columns of a frame."""
    return msgspec.Raw(
        msgspec.msgpack.encode({metric.name: pack(metric, values(metric, tick, variant, rule)) for metric in METRICS})
    )


@lru_cache(maxsize=4 * VARIANTS)
def answer(tick: int, variant: int, rule: str) -> bytes:
    """Give the same readings as an answer to a scrape."""
    body = "\n".join(line for metric in METRICS for line in _lines(metric, values(metric, tick, variant, rule))) + "\n"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def _lines(metric: Metric, found: list[float]) -> Iterator[str]:
    for place, value in enumerate(found):
        match metric.kind:
            case EntityKind.CHIP:
                labels = f'{{chip="{place}"}}'
            case EntityKind.LINK:
                labels = f'{{chip="{place // PORTS}",port="{place % PORTS}"}}'
            case _:
                labels = ""
        yield f"{metric.name}{labels} {value:g}"


GONE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Fleet:
    """All hosts at a tick, -1 before the first."""

    def __init__(self, hosts: int, period: float, ticks: int) -> None:
        """Name them."""
        self.names, self.period, self.ticks, self.tick = hosts_of(hosts), period, ticks, -1
        self.began, self.sick, self.places = time.time(), sick_hosts(hosts), {name: n for n, name in enumerate(hosts_of(hosts))}
        raws = [topics.host(CLUSTER, name, topics.FRAME).encode() for name in self.names]
        self.topics = [len(raw).to_bytes(2, "big") + raw for raw in raws]

    def speaks(self, host: int) -> bool:
        """Whether a host says anything at this tick."""
        return self.sick.get(host) != SILENT or self.tick < LAST_WORD * self.ticks

    def packet(self, host: int) -> bytes:
        """Give the frame of a host as an MQTT packet."""
        body = {
            "v": 1, "c": CLUSTER, "h": self.names[host], "i": f"{7_000_000_000 + host}", "b": f"boot-{host}", "x": host % 16,
            "a": self.began, "s": self.tick + 1, "t": time.time(), "p": self.period, "n": CHIPS, "l": PORTS,
            "d": columns(self.tick, host % VARIANTS, self.sick.get(host, "")), "o": {}, "f": False,
        }  # fmt: skip
        return publish(self.topics[host], msgspec.msgpack.encode(body))

    def page(self, path: str) -> bytes:
        """Give what a host answers to a scrape."""
        host = self.places.get(path, -1)
        if host < 0 or self.tick < 0 or not self.speaks(host):
            return GONE
        return answer(self.tick, host % VARIANTS, self.sick.get(host, ""))


class Scraped(asyncio.Protocol):
    """One connection of a scraper."""

    def __init__(self, fleet: Fleet) -> None:
        """Answer for this fleet."""
        self.fleet, self.asked = fleet, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (of a server over TCP)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self.asked += data
        while b"\r\n\r\n" in self.asked:
            request, _, self.asked = self.asked.partition(b"\r\n\r\n")
            self.transport.write(self.fleet.page(request.split(b" ", 2)[1][1:].decode()))


async def main(mqtt: int, http: int, hosts: int, period: float, ticks: int) -> None:
    """Tell everything, evenly over each period."""
    fleet = Fleet(hosts, period, ticks)
    reader, writer = await asyncio.open_connection("127.0.0.1", mqtt)
    writer.write(connect("load"))
    await reader.readexactly(4)
    server = await asyncio.get_running_loop().create_server(lambda: Scraped(fleet), "127.0.0.1", http, backlog=4096)
    async with server:
        began, sent, latest, bursts = time.monotonic(), 0, 0.0, max(1, round(period / STEP))
        for number in range(ticks * bursts):
            due = began + number * period / bursts
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            latest = max(latest, time.monotonic() - due)
            fleet.tick, burst = divmod(number, bursts)
            first, last = round(hosts * burst / bursts), round(hosts * (burst + 1) / bursts)
            packets = [fleet.packet(host) for host in range(first, last) if fleet.speaks(host)]
            writer.write(b"".join(packets))
            await writer.drain()
            sent += len(packets)
        print(json.dumps({"sent": sent, "latest": latest, "seconds": time.monotonic() - began}), flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])))
