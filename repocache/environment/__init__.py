"""What a process's environment says of a database: variables to frozen values, with nothing
opened."""
