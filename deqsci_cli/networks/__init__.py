"""Denoisers, one file an architecture."""
