"""How a classifier is learnt on top of frozen features: probe, tail, auto."""
