"""Instruction fetch, dependency tokens and the control port."""
