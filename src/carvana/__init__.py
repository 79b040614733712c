"""Library of the Carvana pipeline: plain functions that know neither a command line nor params.yaml.

`stages/` calls it for DVC; a notebook can call it as well (put `src/` on `sys.path`).
"""
