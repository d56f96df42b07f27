"""The hands: one file per action over ports, and beside them the adapters that do the I/O."""
