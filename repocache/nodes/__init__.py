"""The primary and its replicas: where they are in the WAL, who may answer a read, and the
answer."""
