"""A page that shows how a database stands: for people on call, closed to all others."""

from repocache.http.status_page.page import StatusPage

__all__ = ["StatusPage"]
