"""What an evaluation finds, as numbers, charts and pages."""
