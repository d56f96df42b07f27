"""The coordinator: one a fleet. Findings and the cluster's state in; decisions, healing, pages and the HTTP API out."""
