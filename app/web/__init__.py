"""The web pages, the gate in front of them and the routes beside them."""
