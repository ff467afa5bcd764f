"""What a design is: Amaranth components, Verilog with its manifest, and the fast runner."""
