"""Studies as Ray jobs: the code that a job takes along, and the calls to a cluster's Jobs API.

Hands out: jobs.
"""
