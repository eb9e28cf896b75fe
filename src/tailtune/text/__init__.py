"""From texts to ragged tokens, and from ragged tokens to packed batches."""
