"""What was asked for: the settings of a study, read from YAML and checked.

Hands out: cells, checks, reading, search_spec, shipped, spec.
"""
