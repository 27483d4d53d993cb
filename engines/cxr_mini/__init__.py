"""The cxr-mini engine: a small Stable Diffusion for real frontal chest radiographs, its recipe and its drawings."""
