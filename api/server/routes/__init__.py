"""The service's routes, a file a noun."""
