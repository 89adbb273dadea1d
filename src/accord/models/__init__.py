"""Models: policy, reward and value models on Hugging Face checkpoints, and their tokens."""
