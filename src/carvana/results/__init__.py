"""The results of an evaluation: numbers, charts and pages."""
