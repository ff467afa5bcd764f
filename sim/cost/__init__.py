"""What one operator costs: cycles by reason, traffic and activity."""
