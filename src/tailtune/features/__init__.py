"""Frozen blocks computed once per distinct text: the backbone pass, and the store that remembers what it gave."""
