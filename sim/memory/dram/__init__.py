"""Command-level simulation of one DRAM channel."""
