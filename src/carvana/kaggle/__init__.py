"""Kaggle at both ends: the competition's files, and submissions with their origin."""
