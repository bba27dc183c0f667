"""The HTTP service. `app.py` makes the application; what is served is in `routes/`, a file a noun."""
