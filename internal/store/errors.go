package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"

	"github.com/go-sql-driver/mysql"
	"gorm.io/gorm"
)

// Numbers of MySQL and MariaDB errors (the server's error reference).
const (
	mysqlTooManyConnections = 1040
	mysqlAccessDeniedDB     = 1044
	mysqlAccessDenied       = 1045
	mysqlUnknownDatabase    = 1049
	mysqlShutdown           = 1053
	mysqlDiskFull           = 1021
	mysqlTableFull          = 1114
	mysqlHostBlocked        = 1129
	mysqlTooManyForUser     = 1203
	mysqlLockTimeout        = 1205
	mysqlDeadlock           = 1213
	mysqlOptionPrevents     = 1290 // --read-only
	mysqlQueryInterrupted   = 1317
	mysqlReadOnlyTx         = 1792
	mysqlReadOnlyMode       = 1836
	mysqlConnectionKilled   = 1927
)

// Primary result codes of SQLite (sqlite.org/rescode.html).
const (
	sqliteBusy     = 5
	sqliteLocked   = 6
	sqliteReadOnly = 8
	sqliteIOError  = 10
	sqliteFull     = 13
	sqliteCantOpen = 14
	// sqliteConstraint is the primary code of every violated constraint.
	sqliteConstraint = 19
)

// errRaced: another transaction wrote the same rows at the same time; made again, ours sees them.
var errRaced = errors.New("somebody else wrote the same rows at the same time")

// errNoNeighbours: more rows were in a range than the positions say. It is made again without ranges.
var errNoNeighbours = errors.New("recipients are not the neighbours that their positions say")

// errSilent: the server took a statement and did not answer it in time. Whether it was carried out is unknown.
var errSilent = errors.New("the database did not answer in time")

// errUncertain: a commit was not answered. What it was to write may be there.
var errUncertain = errors.New("the commit was not answered")

// IsUnavailable reports whether err means that the database can't be used now and may be later: it is away, full,
// read-only, overloaded, or refuses our credentials. Waiting and repeating is right; any other error is a fault in the
// data or in the program.
func IsUnavailable(err error) bool {
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, errSilent) {
		return true
	}
	if network := net.Error(nil); errors.As(err, &network) {
		return true
	}
	switch mysqlCode(err) {
	case mysqlTooManyConnections, mysqlAccessDeniedDB, mysqlAccessDenied, mysqlUnknownDatabase, mysqlShutdown,
		mysqlDiskFull, mysqlTableFull, mysqlHostBlocked, mysqlTooManyForUser, mysqlLockTimeout, mysqlDeadlock,
		mysqlOptionPrevents, mysqlQueryInterrupted, mysqlReadOnlyTx, mysqlReadOnlyMode, mysqlConnectionKilled:
		return true
	}
	switch sqliteCode(err) {
	case sqliteBusy, sqliteLocked, sqliteReadOnly, sqliteIOError, sqliteFull, sqliteCantOpen:
		return true
	}
	return false
}

// worthRepeating reports whether the same transaction may succeed if it is made again at once. A lost connection is
// among these: whether the transaction was committed is unknown, and every one of ours may be repeated.
func worthRepeating(err error) bool {
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, errRaced) ||
		errors.Is(err, errNoNeighbours) {
		return true
	}
	switch mysqlCode(err) {
	case mysqlLockTimeout, mysqlDeadlock:
		return true
	}
	switch sqliteCode(err) {
	case sqliteBusy, sqliteLocked:
		return true
	}
	return false
}

// isDuplicate reports whether a row was refused because its key is there.
func isDuplicate(err error) bool {
	return errors.Is(err, gorm.ErrDuplicatedKey) || sqliteCode(err) == sqliteConstraint
}

// mysqlCode returns the server's error number, or 0.
func mysqlCode(err error) uint16 {
	if refusal := (*mysql.MySQLError)(nil); errors.As(err, &refusal) {
		return refusal.Number
	}
	return 0
}
