"""What training shows of each sample, and the curricula that go by it.

Hands out: curricula, curriculum_kinds, detection, measures, records, scores.
"""
