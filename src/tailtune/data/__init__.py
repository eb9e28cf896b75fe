"""From a file of labelled texts to a checked, split Dataset."""
