"""The ledger in one SQLite file: the default, for one machine and no server.

The file is in WAL mode. Submissions, controls and retries are on the disk when their call returns. What
workers report survives the death of any process at once, and a power cut up to the last moments: then work
is done twice, but no row is lost.
"""

from __future__ import annotations

from tubelet.orchestration.ledger.sqlite_batches import SqliteBatches
from tubelet.orchestration.ledger.sqlite_log import SqliteLog
from tubelet.orchestration.ledger.sqlite_units import SqliteUnits


class SqliteLedger(SqliteBatches, SqliteUnits, SqliteLog):
    """`Ledger` in the file at a path; any number of threads and processes may use it at once.

    Raises StoreError when the file cannot be used or another release wrote it.
    """
