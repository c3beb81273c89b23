"""The hub's own authorization server (OAuth 2.1): requests and answers as values, no sockets and no pages."""
