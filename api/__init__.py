"""The doors people come in by: command line and HTTP service."""
