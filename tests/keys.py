"""Keys for tests: a server, two clients that it lets in, and strangers."""

import zmq

from deploy.keys import ClientKeys, KeyPair, ServerKeys


def pair() -> KeyPair:
    return KeyPair(*zmq.curve_keypair())


OWN, CLIENT, LATER = pair(), pair(), pair()
SERVER = ServerKeys(OWN, frozenset([CLIENT.public, LATER.public]))
GOOD, GOOD_LATER = ClientKeys(CLIENT, OWN.public), ClientKeys(LATER, OWN.public)
STRANGERS = {
    "without keys": None,
    "that expects another server": ClientKeys(CLIENT, pair().public),
    "whose key is not allowed": ClientKeys(pair(), OWN.public),
    "who knows an allowed public key but not the secret": ClientKeys(KeyPair(CLIENT.public, pair().secret), OWN.public),
}
