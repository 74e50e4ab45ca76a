"""The steps of a decision, in rooms: what is asked for, how far it may go, what keeps it. `core.decide` orders them."""
