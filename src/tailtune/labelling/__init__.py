"""Working with few labels: which texts to label next, files for labelling tools, a loop in the terminal."""
