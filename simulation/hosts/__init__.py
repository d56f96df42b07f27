"""Simulated TPU hosts: they serve the real doors (libtpu's gRPC, the device plugin's text, files of a host, the reporter)."""

from sliceward.simulation.hosts.host import SimulatedHost, address_of, own_net
from sliceward.simulation.hosts.state import Holder, HostState, RunningJob

__all__ = ["Holder", "HostState", "RunningJob", "SimulatedHost", "address_of", "own_net"]
