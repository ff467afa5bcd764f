"""Memory ports, arbitration and on-chip buffers."""
