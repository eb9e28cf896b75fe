"""GPT-2 in the files it was first published in, and in those of the book that teaches it."""
