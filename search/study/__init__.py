"""The settings of a study: read them from YAML and check them.

Hands out: cells, checks, given, paths, reading, resources, rules, schema, search_spec, shipped,
spec.
"""
