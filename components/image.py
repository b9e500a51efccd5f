"""The image that the steps run in on a cluster. It holds `homing` and `components` with the training extras."""

import os

# Read when a pipeline is compiled: HOMING_IMAGE=registry/name@sha256:… pins the image of a deployment.
IMAGE = os.environ.get("HOMING_IMAGE", "ghcr.io/homing/homing-train:0.1.0")
