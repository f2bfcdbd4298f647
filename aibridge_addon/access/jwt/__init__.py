"""JSON Web Tokens (JWT) of an organisation's login service, in place of access tokens.

`issuer` and `reading` are pure; `key_set` caches the public keys that `download` gets; `verifier`
connects them for the admission.
"""
