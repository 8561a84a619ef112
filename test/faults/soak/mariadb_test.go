package main

import (
	"crypto/rand"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/cartero-mail/cartero/test/harness"
)

// mariadb is a server of the test's own, as durable as in production, which may be killed.
type mariadb struct {
	tb      testing.TB
	program string
	dir     string
	port    int
	init    string
	url     string
	cmd     *exec.Cmd
}

// find looks for a server's program where Debian has them.
func find(name string) string {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin") {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// startMariaDB starts a server; nil where none is installed.
func startMariaDB(tb testing.TB) *mariadb {
	tb.Helper()
	m := &mariadb{tb: tb, program: find("mariadbd"), dir: tb.TempDir()}
	install := find("mariadb-install-db")
	if m.program == "" || install == "" {
		return nil
	}
	data := filepath.Join(m.dir, "data")
	// Making the system tables need not be durable: only what comes after is.
	output, err := exec.Command(install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db",
		"--user="+user(), "--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync").CombinedOutput()
	if err != nil {
		tb.Fatalf("Making MariaDB's data directory: %v\n%s", err, output)
	}
	password := rand.Text()
	m.init = filepath.Join(m.dir, "init.sql")
	statements := fmt.Sprintf("CREATE OR REPLACE USER 'cartero'@'%%' IDENTIFIED BY '%s';\nGRANT ALL PRIVILEGES ON *.* TO 'cartero'@'%%' WITH GRANT OPTION;\n"+
		"CREATE DATABASE IF NOT EXISTS worker_db CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;\n", password)
	if err := os.WriteFile(m.init, []byte(statements), 0o600); err != nil {
		tb.Fatal(err)
	}
	m.port = freePort(tb)
	m.url = fmt.Sprintf("mysql://cartero:%s@127.0.0.1:%d/worker_db", password, m.port)
	m.start()
	tb.Cleanup(m.kill)
	return m
}

func user() string {
	output, err := exec.Command("id", "-un").Output()
	if err != nil {
		return "root"
	}
	return strings.TrimSpace(string(output))
}

// freePort is a port that nobody listens at now.
func freePort(tb testing.TB) int {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // it listens on TCP
}

// start starts the server on its data, and waits until it answers.
func (m *mariadb) start() {
	m.tb.Helper()
	m.cmd = exec.Command(m.program, "--no-defaults", "--user="+user(), "--datadir="+filepath.Join(m.dir, "data"),
		"--bind-address=127.0.0.1", "--port="+strconv.Itoa(m.port), "--socket="+filepath.Join(m.dir, "s"),
		"--pid-file="+filepath.Join(m.dir, "pid"), "--init-file="+m.init, "--skip-name-resolve", "--skip-log-bin",
		"--character-set-server=utf8mb4", "--collation-server=utf8mb4_unicode_ci", "--default-time-zone=+00:00", "--max-connections=500",
		"--innodb-buffer-pool-size=128M", "--innodb-flush-log-at-trx-commit=1", "--log-error="+filepath.Join(m.dir, "log"))
	if err := m.cmd.Start(); err != nil {
		m.tb.Fatalf("Starting MariaDB: %v", err)
	}
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = "cartero", "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(m.port))
	config.Passwd = strings.TrimPrefix(strings.SplitN(strings.TrimPrefix(m.url, "mysql://"), "@", 2)[0], "cartero:")
	db, err := sql.Open("mysql", config.FormatDSN())
	if err != nil {
		m.tb.Fatal(err)
	}
	defer db.Close()
	harness.Eventually(m.tb, "MariaDB answers", func() bool { return db.Ping() == nil })
}

// kill ends the server with SIGKILL.
func (m *mariadb) kill() {
	_ = m.cmd.Process.Kill() // it may have ended by itself
	_ = m.cmd.Wait()         // it was killed, which is an error
}
