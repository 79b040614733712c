"""Training of the second look, on windows of the photos at full size."""
