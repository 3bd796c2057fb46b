"""The report of a comparison: one page that needs no network, with its figures beside it.

Hands out: notebook, out_files, page, provenance, write.
"""
