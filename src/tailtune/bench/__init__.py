"""Tailtune beside what people use otherwise: same data, same weights, one run; see ``tailtune.bench.run``."""
