"""Sessions that read their own writes: which reads may go to a replica, and what a session has
seen."""
