"""Serving: thin shells around `homing.decisions` and `homing.policies`.

`serving.ray_app` is the Ray Serve application that decides, `serving.kserve_model` the KServe predictor that scores;
both load the registry's champion by alias and verify its digest.
"""
