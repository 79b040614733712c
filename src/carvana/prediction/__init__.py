"""From photos in a zip to run lists in shards."""
