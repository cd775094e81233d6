"""The camera: sensing operator, masks, noise."""
