"""The whole hub in one process, on a clock and a disk of our own, driven by one seed and judged at every step."""
