"""Who knows a secret: signatures of texts and bytes."""
