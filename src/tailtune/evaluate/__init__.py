"""How good a classifier is: scores, their intervals, cheap baselines beside it, and the verdict in words.

Knows nothing about language models, files or how the probabilities came about.
"""
