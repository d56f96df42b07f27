"""An emulated Kubernetes API server: objects in memory, HTTP outside, honest about versions, conflicts and watches.

What it holds is checked by ``tests/contracts/test_kubernetes_api*.py``, which run on a real API server as well. What it does
not hold: Table and protobuf answers, webhooks of others, role-based access, OpenAPI documents, unknown-field pruning of
built-in kinds, ``managedFields`` in answers (ownership is kept, and applies conflict, but it is not shown).
"""
