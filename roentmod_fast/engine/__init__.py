"""A bundle and what runs it: manifest, tokenizer, devices, the four networks."""
