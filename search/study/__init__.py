"""The settings of a study: reads them from YAML and checks them.

Hands out: cells, checks, reading, schema, search_spec, shipped, spec.
"""
