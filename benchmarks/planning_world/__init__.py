"""Planning in the reference world, against a threshold for each user."""
