"""Feedback: raters, the statistics of their verdicts, and counter-based randomness (no torch)."""
