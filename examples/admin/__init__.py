"""Users and what they may do: who is asking is a join of nine tables."""
