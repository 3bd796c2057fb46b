"""What MLflow is told of a run, also when its server is away.

Hands out: mlflow_store, tracker, watcher.
"""
