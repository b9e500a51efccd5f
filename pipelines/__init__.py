"""Pipelines: the steps of `components` chained; run on this machine or on Kubeflow Pipelines from one definition."""
