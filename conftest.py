"""The servers that tests share, and pytest's own means to test a plugin."""

from hypothesis import settings

from tests.fuzzing import examples

# A machine that is busy is not wrong: no example has a deadline, the test has.
settings.register_profile("ours", deadline=None, max_examples=examples(100))
settings.load_profile("ours")

pytest_plugins = ["repocache.testing.plugin", "pytester"]
