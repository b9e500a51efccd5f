"""Prices that serve, replayed against hindsight."""
