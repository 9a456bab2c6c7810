"""The embedded stack and its chapters: Slipway on one machine, without an account, Docker or root."""
