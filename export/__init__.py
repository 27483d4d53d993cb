"""The torch side: a checkpoint becomes a bundle."""
