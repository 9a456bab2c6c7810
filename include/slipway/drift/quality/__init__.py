"""Quality of the answers, measured when the true outcomes arrive."""
