// Package mysql is test support: a proxy before a MySQL or MariaDB that sees the statements of a session, and breaks off, holds
// back or answers those that a test names. Neither TLS nor compression: it is for loopback.
package mysql
