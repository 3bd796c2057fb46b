"""How charts look, whatever they show.

Hands out: axes, chart, dots, section.
"""
