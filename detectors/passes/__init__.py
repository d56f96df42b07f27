"""The statistical passes: readings of a fleet of peers in, parts that are sick out. Arrays all the way; pure.

`layout` (who is whose peer, who holds whom), `signals` (what is read), `peers` (how far from the peers), `drift` and `counts` (evidence that
adds up over time, in nats), `localise` (which part explains it), `verdicts` (suspect, condemned), `watch` (one tick of all of them).
"""
