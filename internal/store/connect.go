package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"
	gormmysql "gorm.io/driver/mysql"
	"gorm.io/gorm"
)

const (
	// connectionLifetime bounds the life of a MySQL connection: load balancers cut old ones.
	connectionLifetime = 5 * time.Minute
	// silence is how long MySQL waits for the next statement of a session before it ends it, and with it its transaction.
	silence = 30 * time.Second
	// idleTime is how long a connection is kept without work: shorter, so that none is found dead.
	idleTime = silence / 2
)

func openMySQL(t target) (*sql.DB, gorm.Dialector, error) {
	connector, err := mysql.NewConnector(t.mysql)
	if err != nil { // the cause names settings, never their values, except the TLS configuration that we made
		return nil, nil, fmt.Errorf("%w: %w", ErrBadURL, err)
	}
	pool := sql.OpenDB(readCommitted{connector})
	pool.SetMaxOpenConns(t.connections)
	pool.SetMaxIdleConns(t.connections)
	pool.SetConnMaxLifetime(connectionLifetime)
	pool.SetConnMaxIdleTime(idleTime)
	return pool, gormmysql.New(gormmysql.Config{
		Conn:      pool,
		DSNConfig: t.mysql,
		// Ask nothing of the server before the first use: it may be away, and every statement suits every version.
		SkipInitializeWithVersion: true,
		DontSupportForShareClause: true, // MariaDB has only LOCK IN SHARE MODE; MySQL has both
	}), nil
}

// readCommitted opens sessions at READ COMMITTED: no gap locks, so that claims and results of different rows never wait
// for each other. Its variable has a different name in each server; the statement has not.
type readCommitted struct{ driver.Connector }

// Connect implements driver.Connector.
func (c readCommitted) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	const set = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
	execer, ok := conn.(driver.ExecerContext)
	if !ok {
		return nil, errors.Join(errors.New("setting the isolation level: the driver can't"), conn.Close())
	}
	if _, err := execer.ExecContext(ctx, set, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("setting the isolation level: %w", err), conn.Close())
	}
	if whole, ok := conn.(session); ok {
		return impatient{whole}, nil
	}
	return nil, errors.Join(errors.New("the driver lacks what its connections are expected to have"), conn.Close())
}
