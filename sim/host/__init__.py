"""Operators of a decoder that stay on the host."""
