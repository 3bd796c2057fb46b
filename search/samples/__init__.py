"""Finds which training samples are easy to which networks, and what this knowledge is good for.

Hands out: page, runs, summary, tables.
"""
