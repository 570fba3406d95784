"""Nodes, positions, routing and units of work: everything that speaks to the database."""
