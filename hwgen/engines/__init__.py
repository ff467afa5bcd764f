"""The three engines that execute instructions, and accumulation behind the unit."""
