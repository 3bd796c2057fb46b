"""Charts in one style, and sections of charts and tables.

Hands out: axes, bands, chart, dots, section.
"""
