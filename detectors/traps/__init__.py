"""Traps of operation: what looks like sick hardware and is none. One file a detector; each names who is really to blame."""
