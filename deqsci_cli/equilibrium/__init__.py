"""Fixed points: the maps, the solvers, and what joins them into a model."""
