"""The running parts that a database consists of, wired together."""
