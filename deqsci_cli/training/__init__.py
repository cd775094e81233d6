"""What `deqsci train` does: clips, stages, checkpoints, the loop around them."""
