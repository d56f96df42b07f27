"""Readings in, findings out: frames, panel, rules, localisation. Pure.

`metrics` (the catalogue) and `frame` import no numpy: the agent uses them.
"""
