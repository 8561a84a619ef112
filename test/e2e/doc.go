// Package e2e holds the tests of the whole program: the real binary, started as a user starts it, on embedded defaults and
// on MariaDB and Redis. It has no code of its own.
package e2e
