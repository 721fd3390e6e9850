"""One sidecar for all pods of a Kubernetes node: each pod is a host with a life, an identity, an account and a farewell of its own."""
