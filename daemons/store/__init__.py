"""What must outlive a crash: incidents, runs, their story, intents, alerts in, pages out, what people said.

Values of `sliceward.playbooks` in and out; SQLite (WAL, fsync, one writer) or PostgreSQL behind it. Every write of the
leader carries its epoch: after another coordinator took over, a late write is refused (fencing). One `save` is one
transaction: all of a turn or nothing. The only home of SQLAlchemy.
"""

from sliceward.daemons.store.connect import Unseated, Unstorable
from sliceward.daemons.store.store import Store, open_store
from sliceward.daemons.store.values import Alert, Case, Delivery, Intent, Loaded, Put, Received, Rows, Waiting

__all__ = [
    "Alert",
    "Case",
    "Delivery",
    "Intent",
    "Loaded",
    "Put",
    "Received",
    "Rows",
    "Store",
    "Unseated",
    "Unstorable",
    "Waiting",
    "open_store",
]
