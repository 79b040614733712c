"""Networks by name, their files, and the device that computes them."""
