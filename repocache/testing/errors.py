"""What goes wrong with a test server. Callers of the library never see these."""


class ServerError(RuntimeError):
    """A test server could not be found, started or controlled. The message says how to help it."""


class PortTaken(ServerError):
    """Somebody else listens on the port that was chosen."""


class NotOurs(ServerError):
    """A control was asked of a server that is not ours: only its address was given."""
