"""What is shown: facts as metrics, and how the proxy is."""
