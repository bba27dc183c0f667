"""The ledger: which work there is, who runs it, and how it ended. See `protocol`."""
