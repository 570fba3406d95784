"""The two tiers: what is cached, for how long, and the read path through them."""
