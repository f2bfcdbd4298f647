"""Access control: admission by access tokens, policies, egress rules and connection limits."""
