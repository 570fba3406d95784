"""What an operator would look for in a set-up: facts gathered by SQL and Redis commands, and checks
of them, each a plain function."""
