"""What is deployed, as plain mappings made by pure functions: one file a workload or subject; ``deploy/`` is written from here."""
