"""Simulator tests of the generated RTL: cocotb benches (tb_*) and what builds them (test_*)."""
