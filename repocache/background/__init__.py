"""Tasks of the database's own, and the event loop that it lives in."""
