"""The decision rule's operating characteristics: false ships and power, on experiments with a known truth."""
