"""Application Auto Scaling of endpoint variants: targets that are checked, and policies that act."""
