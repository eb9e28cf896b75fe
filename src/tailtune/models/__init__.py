"""Pretrained decoders: where they come from, how their files are read, and the one decoder that runs them."""
