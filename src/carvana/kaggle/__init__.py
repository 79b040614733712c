"""The competition's files from Kaggle, and submissions to it, with their origin."""
