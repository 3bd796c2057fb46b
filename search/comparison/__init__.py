"""Who is ahead, by how much and how surely: policies compared over paired seeds.

Hands out: compare, estimates, headline, held_out, importance, rank_correlation, wording.
"""
