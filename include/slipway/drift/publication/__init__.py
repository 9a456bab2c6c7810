"""What a run found, in the forms in which others want it."""
