"""Experiments that DVC knows, side by side."""
