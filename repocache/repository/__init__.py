"""Repositories: what users declare, and the ways that their reads may go."""
