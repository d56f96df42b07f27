"""Where boxes of chips fit in a torus, exactly and for whole grids at a time."""
