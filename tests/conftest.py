"""The servers that tests share, and pytest's own means to test a plugin."""

from hypothesis import settings

# A machine that is busy is not wrong: no example has a deadline, the test has.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

pytest_plugins = ["repocache.testing.plugin", "pytester"]
