package mysql_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	driver "github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/test/faults/proxy"
	"github.com/cartero-mail/cartero/test/faults/proxy/mysql"
)

// server knows as much of the protocol as the driver asks of it, and remembers the statements.
type server struct {
	net.Listener

	mu         sync.Mutex
	statements []string
	lastID     byte
}

func newServer(t *testing.T) *server {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Listener: listener}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return s
}

func (s *server) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.statements)
}

func (s *server) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statements = append(s.statements, text)
}

func send(w io.Writer, sequence byte, payload ...byte) {
	header := []byte{byte(len(payload)), byte(len(payload) >> 8), byte(len(payload) >> 16), sequence}
	_, _ = w.Write(append(header, payload...))
}

func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	greeting := append([]byte{10}, "8.0.0-test\x00\x01\x00\x00\x0012345678\x00"...)
	greeting = binary.LittleEndian.AppendUint16(greeting, 0xa201) // 4.1, secure connection, long password
	greeting = append(greeting, 45, 2, 0)
	greeting = binary.LittleEndian.AppendUint16(greeting, 0x0008) // plugin auth
	greeting = append(greeting, 21)
	greeting = append(greeting, make([]byte, 10)...)
	greeting = append(greeting, "123456789012\x00mysql_native_password\x00"...)
	send(conn, 0, greeting...)
	in := bufio.NewReader(conn)
	ok := []byte{0, 0, 0, 2, 0, 0, 0}
	for n := 0; ; n++ {
		var header [4]byte
		if _, err := io.ReadFull(in, header[:]); err != nil {
			return
		}
		payload := make([]byte, int(header[0])|int(header[1])<<8|int(header[2])<<16)
		if _, err := io.ReadFull(in, payload); err != nil {
			return
		}
		switch {
		case n == 0:
			send(conn, 2, ok...)
		case payload[0] == 3:
			s.note(string(payload[1:]))
			send(conn, 1, ok...)
		case payload[0] == 0x16: // one parameter, no columns
			s.mu.Lock()
			s.lastID++
			id := s.lastID
			s.mu.Unlock()
			send(conn, 1, 0, id, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0)
			send(conn, 2, parameter()...)
			send(conn, 3, 0xfe, 0, 0, 2, 0)
		case payload[0] == 0x17:
			s.note("execute")
			send(conn, 1, ok...)
		case payload[0] == 0x19:
		case payload[0] == 1:
			return
		default:
			send(conn, 1, ok...)
		}
	}
}

// parameter is the definition of a column that is a text.
func parameter() []byte {
	var b bytes.Buffer
	for _, name := range []string{"def", "", "", "", "?", ""} {
		b.WriteByte(byte(len(name)))
		b.WriteString(name)
	}
	b.Write([]byte{0x0c, 45, 0, 0, 1, 0, 0, 0xfd, 0, 0, 0, 0, 0})
	return b.Bytes()
}

func behind(t *testing.T) (*sql.DB, *mysql.Proxy, *server) {
	t.Helper()
	s := newServer(t)
	p, address := mysql.Before(t, "mysql://u:p@"+s.Addr().String()+"/db")
	config := driver.NewConfig()
	config.User, config.Passwd, config.Net, config.DBName = "u", "p", "tcp", "db"
	config.Addr = strings.TrimSuffix(strings.TrimPrefix(address, "mysql://u:p@"), "/db")
	config.AllowNativePasswords, config.RejectReadOnly = true, true
	config.Logger = &driver.NopLogger{}
	db, err := sql.Open("mysql", config.FormatDSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db, p, s
}

func inTransaction(ctx context.Context, db *sql.DB, statements ...string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}

func TestFaults(t *testing.T) {
	t.Parallel()
	begin, all := "START TRANSACTION", []string{"START TRANSACTION", "UPDATE a", "COMMIT"}
	code := func(n uint16) func(error) bool {
		return func(err error) bool {
			refusal, ok := errors.AsType[*driver.MySQLError](err)
			return ok && refusal.Number == n
		}
	}
	invalid := func(err error) bool { return errors.Is(err, driver.ErrInvalidConn) }
	tests := map[string]struct {
		rule mysql.Rule
		is   func(error) bool
		want []string
	}{
		"the commit's reply is lost": {mysql.Rule{Match: mysql.CommitOf("^UPDATE a"), Do: proxy.Lose}, invalid, all},
		"cut before the commit":      {mysql.Rule{Match: mysql.CommitOf("^UPDATE a"), Do: proxy.Cut}, invalid, all[:2]},
		"the statement's reply is lost": {
			mysql.Rule{Match: mysql.Statement("^UPDATE"), Do: proxy.Lose}, invalid, all[:2],
		},
		"a deadlock": {
			mysql.Rule{Match: mysql.Statement("^UPDATE"), Do: proxy.Answer, Reply: mysql.Deadlock},
			code(1213),
			[]string{begin, "ROLLBACK"},
		},
		"shut down": {
			mysql.Rule{Match: mysql.Statement("^UPDATE"), Do: proxy.Answer, Reply: mysql.Shutdown, HangUp: true},
			code(1053),
			[]string{begin},
		},
		"another transaction's commit": {mysql.Rule{Match: mysql.CommitOf("^UPDATE b"), Do: proxy.Cut}, nil, all},
		"a commit that skips the first": {
			mysql.Rule{Match: mysql.CommitOf("^UPDATE"), Skip: 1, Do: proxy.Cut}, nil, all,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, p, s := behind(t)
			armed := p.Arm(test.rule)
			err := inTransaction(t.Context(), db, "UPDATE a")
			if test.is == nil && err != nil || test.is != nil && !test.is(err) {
				t.Errorf("the transaction failed with %v", err)
			}
			if test.is != nil {
				armed.Await(t, 1)
			}
			if err := inTransaction(t.Context(), db, "SELECT 1"); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			if diff := cmp.Diff(append(test.want, begin, "SELECT 1", "COMMIT"), s.seen()); diff != "" {
				t.Errorf("statements (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPreparedStatementsHaveTheirText(t *testing.T) {
	t.Parallel()
	db, p, s := behind(t)
	armed := p.Arm(mysql.Rule{Match: mysql.Statement("^INSERT b"), Do: proxy.Answer, Reply: mysql.TableFull})
	for _, text := range []string{"INSERT a VALUES (?)", "INSERT b VALUES (?)", "INSERT c VALUES (?)"} {
		_, err := db.ExecContext(t.Context(), text, "x")
		if (err != nil) != strings.HasPrefix(text, "INSERT b") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if diff := cmp.Diff([]string{"execute", "execute"}, s.seen()); diff != "" || armed.Hits() != 1 {
		t.Errorf("statements (-want +got):\n%s, %d hits", diff, armed.Hits())
	}
}

func TestConnections(t *testing.T) {
	t.Parallel()
	db, p, s := behind(t)
	p.Arm(mysql.Rule{Match: mysql.Connection, Do: proxy.Answer, Reply: mysql.TooManyConnections})
	err := db.PingContext(t.Context())
	if refusal, ok := errors.AsType[*driver.MySQLError](err); !ok || refusal.Number != 1040 {
		t.Errorf("the connection failed with %v, want error 1040", err)
	}
	held := p.Arm(mysql.Rule{Match: mysql.Connection, Do: proxy.Hold})
	done := make(chan error)
	go func() {
		_, err := db.ExecContext(context.Background(), "SELECT 1")
		done <- err
	}()
	held.Await(t, 1)
	if seen := s.seen(); len(seen) > 0 {
		t.Errorf("the server saw %q", seen)
	}
	held.Release()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestHoldAndSwallow(t *testing.T) {
	t.Parallel()
	db, p, s := behind(t)
	held := p.Arm(mysql.Rule{Match: mysql.Statement("^SELECT 1"), Do: proxy.Hold})
	swallowed := p.Arm(mysql.Rule{Match: mysql.Statement("^SELECT 2"), Do: proxy.Swallow})
	one, two := make(chan error), make(chan error)
	go func() {
		_, err := db.ExecContext(context.Background(), "SELECT 1")
		one <- err
	}()
	go func() {
		_, err := db.ExecContext(context.Background(), "SELECT 2")
		two <- err
	}()
	held.Await(t, 1)
	swallowed.Await(t, 1)
	held.Release()
	if err := <-one; err != nil {
		t.Error(err)
	}
	p.CutAll()
	if err := <-two; err == nil {
		t.Error("what was swallowed was answered")
	}
	if diff := cmp.Diff([]string{"SELECT 1"}, s.seen()); diff != "" {
		t.Errorf("statements (-want +got):\n%s", diff)
	}
}
