"""The watcher: frames, Prometheus and Kubernetes in, findings and gang progress out; one for each cluster."""
