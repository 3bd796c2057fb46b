"""What training shows about each sample, and the curricula that use it.

Hands out: curricula, curriculum_kinds, detection, measures, records, scores.
"""
