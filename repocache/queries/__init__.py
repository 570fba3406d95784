"""Cached queries: from a statement to the shapes and tags that invalidate its answer."""
