"""From a mapped class to what the cache needs: the row to load, the entity and the views made from
it."""
