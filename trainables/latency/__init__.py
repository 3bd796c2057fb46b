"""Latency tables: measured networks of random widths, from which the latency of any width is predicted.

Hands out: measuring, table.
"""
