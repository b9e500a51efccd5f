"""Off-policy estimates against what real randomised data say by another route."""
