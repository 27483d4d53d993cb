"""A reader study of a cohort: blinded images for readers, their sheets, and what the sheets say."""
