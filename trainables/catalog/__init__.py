"""The names that settings may use, and what goes with what.

Hands out: availability, checks, feasibility.
"""
