"""Photos and masks: zips, decoding, the training cache, and the split by car."""
