"""A fleet that is not there: hosts that speak the real protocols, faults with known truth, an emulated Kubernetes, gangs, a provider."""
