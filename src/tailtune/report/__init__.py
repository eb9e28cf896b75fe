"""What one training amounts to, for people to read. Knows nothing about how the numbers were measured."""
