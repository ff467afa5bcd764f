"""How publications counted: switches, and one TOML file a publication."""

from sim.conventions.switches import PHYSICAL, Conventions, list_conventions, load_conventions

__all__ = ["PHYSICAL", "Conventions", "list_conventions", "load_conventions"]
