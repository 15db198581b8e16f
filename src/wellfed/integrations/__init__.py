"""wellfed inside frameworks that own the training loop; each is imported by its own name.

- `wellfed.integrations.lightning`: Lightning's Trainer
- `wellfed.integrations.transformers`: Hugging Face's Trainer
"""
