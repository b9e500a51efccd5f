"""Homing: decide which message to send on which channel, or that silence is better, and learn from every decision."""

__version__ = "0.1.0"
