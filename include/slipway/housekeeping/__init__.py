"""What is left behind: lost canaries, approvals that nobody used, idle endpoints, resources that nothing refers to."""
