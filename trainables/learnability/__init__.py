"""What training shows of each sample, and the curricula that go by it.

Hands out: curricula, detection, measures, records, scores.
"""
