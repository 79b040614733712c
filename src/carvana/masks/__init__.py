"""Masks as run lists: text, files, from logits, and their overlap."""
