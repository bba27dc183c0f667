"""Watching: structured logs, metrics and traces of the work, wherever it runs."""
