"""Retrieve the best networks of a study: choose, copy, verify, time, export and register them.

Hands out: best, choosing, copying.
"""
