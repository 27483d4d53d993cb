"""Stress tests: how a classifier's outputs shift when one finding is added to a radiograph."""
