"""Verification: every number of a study's tables is derived again from the files of its trials.

Hands out: verify.
"""
