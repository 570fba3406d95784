"""Transactions on the primary: units of work, plain sessions, and the moment of COMMIT."""
