"""From a model to a program: front ends, number formats, tiling, schedule and instruction set."""
