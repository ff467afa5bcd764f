"""What can be built: the design file, units, register map and the library of designs."""
