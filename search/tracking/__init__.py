"""Tracking a study in MLflow, whose server may be slow or away.

Hands out: mlflow_store, params, tracker, watcher.
"""
