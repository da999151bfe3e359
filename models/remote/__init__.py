"""Other engines by address: what they are, their replicas and their queue."""
