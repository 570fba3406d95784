"""One engine for each node and purpose: addresses, drivers, pools, and what is known of a
connection."""
