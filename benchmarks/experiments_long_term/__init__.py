"""Long-term effects, shared budgets and intervals, in worlds with a known truth."""
