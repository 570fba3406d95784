"""Computed values, cached: read through a loader whose reads say what each value depends on."""
