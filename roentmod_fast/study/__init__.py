"""What is made of many edits: cohorts, their plan, rows and tables, and the data sets that they are made from."""
