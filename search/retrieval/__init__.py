"""The best network of a study: chosen, copied, verified, timed and registered.

Hands out: best, copying.
"""
