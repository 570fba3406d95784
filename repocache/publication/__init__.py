"""What a commit does beyond the database: values, invalidations, the row of the outbox."""
