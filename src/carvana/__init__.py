"""Library of the Carvana pipeline: plain functions without a command line.

`stages/` calls it for DVC; a notebook can call it as well (add `src/` to `sys.path`).
"""
