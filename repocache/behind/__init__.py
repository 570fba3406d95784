"""Write-behind: what is accepted into Redis Streams, and written to the database in batches,
exactly once."""
