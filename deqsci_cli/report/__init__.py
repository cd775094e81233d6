"""Figures of merit and the report that carries them."""
