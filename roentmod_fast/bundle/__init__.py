"""What lies on disk: a bundle, its manifest and tokenizer, where bundles are looked for and how they are installed."""
