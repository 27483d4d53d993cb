"""A sweep: one radiograph edited with many settings, side by side (the paper's Supplemental Figure 5)."""
