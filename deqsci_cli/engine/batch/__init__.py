"""Many measurements: what is to be done, by whom, and what is done already."""
