"""Sources of the agent: one file each, listed in `catalog`; what they share is in `source`, `pods` and `threads`."""
