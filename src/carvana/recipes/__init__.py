"""Recipes: settings whose scores were measured, run by one command, with the time they take on this machine."""
