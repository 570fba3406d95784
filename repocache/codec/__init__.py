"""Rows to bytes and back, by the types of their columns."""
