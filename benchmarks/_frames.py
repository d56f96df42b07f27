"""``_frames.py PORT HOSTS PERIOD SECONDS BOOT``: sends the frames of a fleet, spread evenly over each period; prints what it sent.

A frame is written as MQTT by hand, from columns that were packed before: whoever makes the load must not take the core of
whoever is measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import pairwise

import msgspec

from benchmarks._fleet import CHIPS, CLUSTER, PORTS, columns, hosts_of, machines_of
from sliceward.daemons import topics

CONNECTIONS = 16
VARIANTS = 16
SICK_OF = 1000
"""One host in so many has a throttled chip."""
STEP = 0.02
"""Seconds between two bursts."""
NOTES_EVERY = 6
NOTES = {f"holder/{chip}": f"pid {4000 + chip} python in pod ml/gang-000-slice-0-{chip}" for chip in range(CHIPS)} | {
    "agent/version": "0.1.0",
    "libtpu/version": "0.0.30",
    "selftest": "well",
}

_PACK = msgspec.msgpack.Encoder().encode


def is_sick(host: int) -> bool:
    """Whether a host has a throttled chip."""
    return host % SICK_OF == SICK_OF // 2


def _length(count: int) -> bytes:
    """MQTT 3.1.1 section 2.2.3."""
    out = bytearray()
    while True:
        count, digit = divmod(count, 128)
        out.append(digit | (128 if count else 0))
        if not count:
            return bytes(out)


def _text(text: str) -> bytes:
    raw = text.encode()
    return len(raw).to_bytes(2, "big") + raw


def connect(client: str) -> bytes:
    """Give a CONNECT packet without keep-alive."""
    body = _text("MQTT") + b"\x04\x02\x00\x00" + _text(client)
    return b"\x10" + _length(len(body)) + body


def publish(topic: bytes, payload: bytes) -> bytes:
    """Give a PUBLISH packet of QoS 0; ``topic`` with its length before it."""
    return b"\x30" + _length(len(topic) + len(payload)) + topic + payload


class Fleet:
    """All hosts, and the next frame of each. ``began``: when their agents started."""

    def __init__(self, hosts: int, period: float, *, began: float) -> None:
        """Pack what does not change."""
        self.names, self.machines, self.period, self.began = hosts_of(hosts), machines_of(hosts), period, began
        self.topics = [_text(topics.host(CLUSTER, name, topics.FRAME)) for name in self.names]
        well = [msgspec.Raw(_PACK(columns(n))) for n in range(VARIANTS)]
        sick = msgspec.Raw(_PACK(columns(sick=True)))
        self.columns = [sick if is_sick(n) else well[n % VARIANTS] for n in range(hosts)]

    def packet(self, host: int, seq: int, at: float) -> bytes:
        """Give one frame as an MQTT packet."""
        return publish(self.topics[host], self.frame(host, seq, at))

    def frame(self, host: int, seq: int, at: float) -> bytes:
        """Give one frame, of the time ``at`` on the host's clock."""
        name, full = self.names[host], (seq + host) % NOTES_EVERY == 0
        body = {
            "v": 1, "c": CLUSTER, "h": name, "i": self.machines[host][0], "b": self.machines[host][1], "x": host % 16,
            "a": self.began, "s": seq, "t": at, "p": self.period, "n": CHIPS, "l": PORTS,
            "d": self.columns[host], "o": NOTES if full else {}, "f": full,
        }  # fmt: skip
        return _PACK(body)


async def main(port: int, hosts: int, period: float, seconds: float, boot: str) -> None:
    """Send; a line says how much, and how late the latest burst was."""
    fleet = Fleet(hosts, period, began=time.time())
    writers = []
    for n in range(CONNECTIONS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(connect(f"load-{boot}-{n}"))
        await reader.readexactly(4)
        writers.append(writer)
    bursts = round(period / STEP)
    cuts = list(pairwise(round(hosts * n / bursts) for n in range(bursts + 1)))
    began, sent, size, latest = time.monotonic(), 0, 0, 0.0
    for seq in range(1, round(seconds / period) + 1):
        for n, (first, last) in enumerate(cuts):
            due = began + (seq - 1) * period + n * STEP
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            latest = max(latest, time.monotonic() - due)
            packets = b"".join([fleet.packet(host, seq, time.time()) for host in range(first, last)])
            writer = writers[n % CONNECTIONS]
            writer.write(packets)
            await writer.drain()
            sent, size = sent + last - first, size + len(packets)
    for writer in writers:
        writer.write(b"\xe0\x00")
        writer.close()
        await writer.wait_closed()
    print(json.dumps({"sent": sent, "bytes": size, "latest": latest}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]), sys.argv[5]))
