"""Who may do what: accounts, sign-in, permissions."""
