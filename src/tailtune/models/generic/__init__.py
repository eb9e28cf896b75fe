"""Decoders and encoders without a family here, through the modules of the reference library (an extra), cut at a depth.

What runs before the first block is the reference model's own forward, stopped there; blocks are its own modules, called
with what that forward hands them. Nothing here is imported, nor is the library, unless such a model is used.
"""
