"""Protocols as thin views of one function. Each module has a router, its paths and the shape of its refusals."""
