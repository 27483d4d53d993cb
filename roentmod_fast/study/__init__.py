"""What is made of many edits: cohorts, sweeps, and pages to look at them. It stands on the editor."""
