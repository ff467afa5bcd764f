"""What the benches share: builds, streams and their rules, scoreboards, memories, coverage."""
