"""The mathematics of an edit, in pure numpy: schedule, noise, guidance, solvers, the denoising loop."""
