"""Checks of a trial's settings: which names exist, which settings fit each other, and what is missing here.

Hands out: availability, checks, contract, contract_rules, feasibility, planned_parts, remarks.
"""
