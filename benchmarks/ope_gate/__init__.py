"""The gate's error rates and its power, on logs with a known truth."""
