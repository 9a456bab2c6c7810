"""Hooks of a promotion: what they are told, how they are asked, what their answers mean."""
