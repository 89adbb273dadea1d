"""accord: reinforcement learning from human feedback, end to end."""
