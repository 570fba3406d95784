"""Whole services on FastAPI, to be read and copied; not packaged."""
