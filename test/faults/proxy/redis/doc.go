// Package redis is test support: a proxy before a Redis that sees the commands of a connection, RESP2 or RESP3, and breaks off,
// holds back or answers those that a test names. No TLS: it is for loopback.
package redis
