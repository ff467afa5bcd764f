"""The generated Verilog as a shared library behind a model of its memory."""
