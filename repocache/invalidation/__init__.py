"""From a commit to every process: batches of changes, their delivery, and what listens to the
channel."""
