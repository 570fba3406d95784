"""`repocache demo`: real servers, real data, faults, and two ways to cache under the same traffic,
compared by what was recorded."""
