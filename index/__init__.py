"""The searchable index: schema, store, query, search, export."""
