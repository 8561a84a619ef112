// Package contract holds the tests of what other programs rely on over HTTP. Their client knows the contract and nothing
// else: they pass against Cartero and against a Python service of the kind that it replaces, and compare the mails that
// arrive.
package contract
