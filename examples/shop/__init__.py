"""Two shops of one application, behind Varnish: read `repositories.py` and `policies.py` first."""
