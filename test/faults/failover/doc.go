// Package failover holds the test that loses a database's last commits: a MariaDB with a replica that lags, which takes its place.
// It has no code of its own.
package failover
