"""Who is ahead, by how much and how surely: policies compared over paired seeds.

Hands out: best_rivals, compare, estimates, headline, held_out, importance, int8_cells, pairs, rank_correlation,
wording.
"""
