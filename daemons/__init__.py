"""Processes: agent, watcher, coordinator, the command line, and what they stand on: settings, wire, store, health, logs."""
