"""Deterministic simulation: a seed gives a fleet, faults, people who meddle, crashes; all of it in virtual time, in one thread.

Here are the event loop and the world behind the ports; who drives a coordinator through it stands in ``tests/virtual/``.
docs/decisions/0017-deterministic-simulation.md tells how it works.
"""
