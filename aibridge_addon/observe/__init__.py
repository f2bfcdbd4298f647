"""What is shown of facts: metrics."""
