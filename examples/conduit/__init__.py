"""A blog for many, as RealWorld's Conduit is: read `repositories.py` first."""
