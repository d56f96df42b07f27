"""``sliceward demo``: a simulated fleet that speaks the real protocols, a fault, and the healing of it, told as it happens."""
