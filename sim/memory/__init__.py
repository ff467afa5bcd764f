"""Timing of external memory."""
