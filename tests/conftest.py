"""The servers that tests share, and pytest's own means to test a plugin."""

pytest_plugins = ["repocache.testing.plugin", "pytester"]
