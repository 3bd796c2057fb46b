"""How the policies share one budget among the parts of a network.

Hands out: budget, plan, policies, problem, profiles, schedules.
"""
