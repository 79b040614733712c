"""Masks as run lists: as text, in files, from logits, and their overlap."""
