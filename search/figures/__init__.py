"""Charts in one style, and sections of charts and tables.

Hands out: axes, chart, dots, section.
"""
