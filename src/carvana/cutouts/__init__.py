"""Cars cut out of a user's own photos."""
