"""Which training samples are easy, to which networks, and what that is good for.

Hands out: page, runs, summary, tables.
"""
