"""The built-in demonstration engine: its recipe (train.py), its model card (CARD.md) and its bundle."""
