"""Checks of a trial's settings: which names exist, which settings fit each other, and what is missing here.

Hands out: availability, checks, contract, feasibility, planned_parts, remarks.
"""
