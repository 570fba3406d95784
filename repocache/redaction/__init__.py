"""What may be shown of what comes from outside: addresses without passwords, foreign errors in
brief."""
