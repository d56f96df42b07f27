"""Readings that the watcher makes itself: who speaks for a host with two voices or without a name, what peers say of a silent one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sliceward.detectors.look import Look
from sliceward.detectors.run import identity_is_missing
from sliceward.topology.ids import ChipId, HostId
from sliceward.topology.links import links_of_chip, port_at

if TYPE_CHECKING:
    from sliceward.detectors.panel import Panel
    from sliceward.topology.fleet import Fleet

UNUSABLE = 10
"""libtpu's ``ici_link_health`` of a link that cannot be used."""
NEWS = 3
"""Periods after which a peer's word is old."""


def write_own(panel: Panel, fleet: Fleet, *, grace: float) -> None:
    """Put the watcher's own readings into the panel, as of now."""
    there = [(slot, known) for slot, known in enumerate(panel.hosts) if known is not None]
    if not there:
        return
    slots = np.array([slot for slot, _ in there], dtype=np.intp)
    twins = np.array([known.twins(panel.now) for _, known in there], dtype=np.float32)
    nameless = [identity_is_missing(fleet, HostId(panel.cluster, known.name), known) for _, known in there]
    panel.write_hosts("host_twin_speakers", slots, twins)
    panel.write_hosts("host_identity_missing", slots, np.array(nameless, dtype=np.float32))
    silent = [slot for slot in np.flatnonzero(Look.at(panel, grace=grace).silent) if panel.hosts[slot] is not None]
    if silent:
        told = [_told_by_peers(panel, fleet, int(slot)) for slot in silent]
        panel.write_hosts("host_peers_report_lost", np.array(silent, dtype=np.intp), np.array(told, dtype=np.float32))


def _told_by_peers(panel: Panel, fleet: Fleet, slot: int) -> float:
    """Give the share of a host's links that their other ends call unusable; NaN where no peer says anything."""
    known = panel.hosts[slot]
    host = fleet.hosts.get(HostId(panel.cluster, known.name)) if known is not None else None
    if host is None:
        return np.nan
    mine = {link for chip in range(host.chips) for link in links_of_chip(fleet, ChipId(host.id.cluster, host.id.name, chip))}
    words = []
    for link in mine:
        for end in link.ends:
            port = port_at(fleet, end, link)
            if end.host_id != host.id and port is not None:
                words.append(_word(panel, end, port))
    heard = [word for word in words if not np.isnan(word)]
    return sum(word >= UNUSABLE for word in heard) / len(heard) if heard else np.nan


def _word(panel: Panel, end: ChipId, port: int) -> float:
    slot, column = panel.slots.get(end.host), panel.ring.columns.get("link_health")
    if slot is None or column is None or end.index >= column.shape[2] or port >= column.shape[3]:
        return np.nan
    series = column[panel.ring.recent(NEWS * panel.size.period), slot, end.index, port]
    there = np.flatnonzero(~np.isnan(series))
    return float(series[there[0]]) if len(there) else np.nan
