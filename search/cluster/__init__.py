"""Studies as Ray jobs: the code that is sent with a job, and the calls to a cluster's Jobs API.

Hands out: jobs.
"""
