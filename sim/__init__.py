"""What a program costs and computes: timeline, attribution of cycles and golden model."""
