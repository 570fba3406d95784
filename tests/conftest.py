"""The servers that tests share."""

pytest_plugins = ["repocache.testing.plugin"]
