"""Whether what is cached is what the primary has: samples and shadow reads, judged alike, counted
and repaired."""
