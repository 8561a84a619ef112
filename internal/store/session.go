package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/go-sql-driver/mysql"
)

// rollbackLimit is how long a server may take to roll back before the connection is given up, which rolls back as well.
const rollbackLimit = 10 * time.Second

// session is what database/sql makes use of in the driver's connections.
type session interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// impatient waits for the end of a transaction no longer than for its statements. The driver would wait for as long as a server
// that fell silent can be reached.
type impatient struct{ session }

// BeginTx implements driver.ConnBeginTx.
func (c impatient) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	if _, err := c.session.BeginTx(ctx, options); err != nil {
		return nil, err
	}
	return transaction{c.session, ctx}, nil
}

// transaction commits by the deadline with which it was begun. A context that is cancelled does not cut the commit off: its reply
// is on the way.
type transaction struct {
	session session
	begun   context.Context //nolint:containedctx // of the transaction, whose life it is
}

// Commit implements driver.Tx.
func (t transaction) Commit() error {
	ctx := context.WithoutCancel(t.begun)
	if deadline, ok := t.begun.Deadline(); ok {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadline(ctx, deadline)
		defer stop()
	}
	return t.end(ctx, "COMMIT")
}

// Rollback implements driver.Tx.
func (t transaction) Rollback() error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(t.begun), rollbackLimit)
	defer stop()
	return t.end(ctx, "ROLLBACK")
}

func (t transaction) end(ctx context.Context, statement string) error {
	_, err := t.session.ExecContext(ctx, statement, nil)
	if refusal := (*mysql.MySQLError)(nil); err != nil && !errors.As(err, &refusal) {
		_ = t.session.Close() // the transaction may be open: nobody may take the connection for a fresh one
	}
	return err
}
