// Package dependencies holds the tests that break what Cartero depends on in the middle of a campaign: statements of MySQL or
// MariaDB, commands of Redis, calls and watches of the API server, each at the moment that a test names, through proxies
// that understand them. It has no code of its own.
//
// A plain run has every fault once, at the places where it differs; TEST_FAULTS=all has each at every place.
package dependencies
