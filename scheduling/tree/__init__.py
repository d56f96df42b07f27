"""Gangs on a tree of labels (block, rack, host or any levels): where pods go, which are placed anew, which are let go. Pure.

The rules are those of Kueue's Topology-Aware Scheduling (design KEP-2724, release 0.19), so that what sliceward foresees is what
Kueue does; where they differ on purpose, ``docs/decisions/0021-kueue-tables.md`` says so.
"""
