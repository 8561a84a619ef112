package harness

import (
	"crypto/rand"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// MariaDB is a server of the test's own, as durable as in production, which may be killed.
type MariaDB struct {
	// URL is a DATABASE_URL, of a database with nothing in it; Addr is where the server listens.
	URL, Addr string
	// User and Password may do everything.
	User, Password string

	tb      testing.TB
	program string
	dir     string
	flags   []string
	cmd     *exec.Cmd
}

// databaseName is the database that a server is started with.
const databaseName = "worker_db"

// StartMariaDB starts a server, with these flags behind the others; nil where none is installed.
func StartMariaDB(tb testing.TB, flags ...string) *MariaDB {
	tb.Helper()
	m := &MariaDB{tb: tb, program: findProgram("mariadbd"), dir: tb.TempDir(), flags: flags, User: "cartero", Password: rand.Text()}
	install := findProgram("mariadb-install-db")
	if m.program == "" || install == "" {
		return nil
	}
	// Making the system tables need not be durable: only what comes after is.
	output, err := exec.Command(install, "--no-defaults", "--datadir="+m.data(), "--auth-root-authentication-method=normal", "--skip-test-db",
		"--user="+userName(), "--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync").CombinedOutput()
	if err != nil {
		tb.Fatalf("Making MariaDB's data directory: %v\n%s", err, output)
	}
	statements := fmt.Sprintf("SET SESSION sql_log_bin=0;\nCREATE OR REPLACE USER '%s'@'%%' IDENTIFIED BY '%s';\n"+
		"GRANT ALL PRIVILEGES ON *.* TO '%[1]s'@'%%' WITH GRANT OPTION;\n"+
		"CREATE DATABASE IF NOT EXISTS %[3]s CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;\n", m.User, m.Password, databaseName)
	if err := os.WriteFile(m.initFile(), []byte(statements), 0o600); err != nil {
		tb.Fatal(err)
	}
	m.Addr = FreeAddr(tb)
	m.URL = fmt.Sprintf("mysql://%s:%s@%s/%s", m.User, m.Password, m.Addr, databaseName)
	m.Start()
	tb.Cleanup(m.Kill)
	return m
}

func (m *MariaDB) data() string     { return filepath.Join(m.dir, "data") }
func (m *MariaDB) initFile() string { return filepath.Join(m.dir, "init.sql") }

// Start starts a server that was killed on its data, and waits until it answers.
func (m *MariaDB) Start() {
	m.tb.Helper()
	_, port, _ := net.SplitHostPort(m.Addr)
	args := []string{
		"--no-defaults", "--user=" + userName(), "--datadir=" + m.data(), "--bind-address=127.0.0.1", "--port=" + port,
		"--socket=" + filepath.Join(m.dir, "s"), "--pid-file=" + filepath.Join(m.dir, "pid"), "--init-file=" + m.initFile(), "--skip-name-resolve",
		"--skip-log-bin", "--character-set-server=utf8mb4", "--collation-server=utf8mb4_unicode_ci", "--default-time-zone=+00:00",
		"--max-connections=500", "--innodb-buffer-pool-size=128M", "--innodb-flush-log-at-trx-commit=1", "--log-error=" + filepath.Join(m.dir, "log"),
	}
	m.cmd = exec.Command(m.program, slices.Concat(args, m.flags)...)
	if err := m.cmd.Start(); err != nil {
		m.tb.Fatalf("Starting MariaDB: %v", err)
	}
	db := m.Open("")
	defer db.Close()
	Eventually(m.tb, "MariaDB answers", func() bool { return db.Ping() == nil })
}

// Open is a handle on the server, or on what stands before it at another address.
func (m *MariaDB) Open(addr string) *sql.DB {
	m.tb.Helper()
	config := mysql.NewConfig()
	config.User, config.Passwd, config.Net, config.Addr, config.DBName = m.User, m.Password, "tcp", m.Addr, databaseName
	if addr != "" {
		config.Addr = addr
	}
	return openSQL(m.tb, "mysql", config.FormatDSN())
}

// Kill ends the server with SIGKILL.
func (m *MariaDB) Kill() {
	_ = m.cmd.Process.Kill() // it may have ended by itself
	_ = m.cmd.Wait()         // it was killed, which is an error
}

// findProgram looks for a server's program where Debian has them.
func findProgram(name string) string {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin") {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

func userName() string {
	output, err := exec.Command("id", "-un").Output()
	if err != nil {
		return "root"
	}
	return strings.TrimSpace(string(output))
}

// FreeAddr is an address, host and port, that nobody listens at now.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
