"""Access control: admission, access tokens, policies, and which addresses may be reached."""
