"""The built-in demonstration engine: its recipe (train.py), its card (CARD.md) and its bundle."""
