"""The hub as a client of other authorization servers: how it gets, keeps and renews what downstreams ask for."""
