"""Polars' side: read the same files, checking nothing."""

from __future__ import annotations

import sys

import polars as pl

from benchmarks.measure import report

report(lambda: len(pl.read_parquet(f"{sys.argv[1]}/decisions/**/*.parquet", hive_partitioning=False)))
