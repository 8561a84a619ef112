package store

import (
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	type mysqlParts struct {
		User, Password, Net, Address, Database string
		Connections                            int
		Dial, Read                             time.Duration
		TLS                                    bool
	}
	for url, want := range map[string]mysqlParts{
		"mysql://root@db/worker_db": {
			User: "root", Net: "tcp", Address: "db:3306", Database: "worker_db", Connections: 10, Dial: 5 * time.Second,
		},
		"mysql://a%40b:p%40s%23s%2Fw%3Ard%25@[::1]:3307/worker%20db?connection_limit=3&pool_timeout=2&connect_timeout=9&socket_timeout=60": {
			User: "a@b", Password: "p@s#s/w:rd%", Net: "tcp", Address: "[::1]:3307", Database: "worker db", Connections: 3,
			Dial: 9 * time.Second, Read: time.Minute,
		},
		"mysql://root:pw@localhost/worker_db?socket=/run/mysqld/mysqld.sock": {
			User: "root", Password: "pw", Net: "unix", Address: "/run/mysqld/mysqld.sock", Database: "worker_db", Connections: 10,
			Dial: 5 * time.Second,
		},
		"mysql://root:pw@db:3306/worker_db?sslaccept=strict&statement_cache_size=5": {
			User: "root", Password: "pw", Net: "tcp", Address: "db:3306", Database: "worker_db", Connections: 10,
			Dial: 5 * time.Second, TLS: true,
		},
	} {
		got, err := parseURL(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		c := got.mysql
		parts := mysqlParts{c.User, c.Passwd, c.Net, c.Addr, c.DBName, got.connections, c.Timeout, c.ReadTimeout, c.TLS != nil}
		if diff := cmp.Diff(want, parts); diff != "" {
			t.Errorf("%s: %s", url, diff)
		}
		if !c.ParseTime || !c.InterpolateParams || !c.RejectReadOnly || !c.ClientFoundRows || c.MultiStatements {
			t.Errorf("%s: the session is not the one that the store counts on: %+v", url, c)
		}
	}
	for url, want := range map[string]string{
		"sqlite://data/cartero.db": "data/cartero.db", "sqlite:///var/lib/a%20b.db?x=y": "/var/lib/a b.db",
	} {
		got, err := parseURL(url)
		if err != nil || got.engine != engineSQLite || got.path != want {
			t.Errorf("%s: got %+v, %v", url, got, err)
		}
	}
}

// Whatever is wrong with a URL, what is said about it has no part of the password.
func TestParseURLRefuses(t *testing.T) {
	t.Parallel()
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"":                                         "want mysql://",
		"root:hunter@tcp(db:3306)/worker_db":       "want mysql://",
		"postgresql://root:hunter@db/worker":       "neither mysql nor sqlite",
		"mysql://root:hun#ter@db/worker_db":        "percent-encode",
		"mysql://root:hun/ter@db/worker_db":        "percent-encode",
		"mysql://root:hun%ter@db/worker_db":        "percent-encode",
		"mysql://root:hunter@/worker_db":           "no host",
		"mysql://root:hunter@db":                   "database name",
		"mysql://root:hunter@db/a/b":               "database name",
		"mysql://root:hunter@db/a?x=%zz":           "parameters",
		"mysql://u:hunter@db/a?connection_limit=0": "connection_limit",
		"mysql://u:hunter@db/a?connect_timeout=1s": "connect_timeout",
		"mysql://u:hunter@db/a?sslaccept=maybe":    "sslaccept",
		"mysql://u:hunter@db/a?sslidentity=x.p12":  "sslidentity",
		"mysql://u:hunter@db/a?sslcert=/no/such":   "sslcert",
		"mysql://u:hunter@db/a?sslcert=" + notPEM:  "PEM",
		"sqlite://":         "path of a file",
		"sqlite://:memory:": "path of a file",
		"sqlite://%zz":      "percent-encoding",
	} {
		_, err := Open(t.Context(), url)
		switch {
		case !errors.Is(err, ErrBadURL) || !strings.Contains(err.Error(), want):
			t.Errorf("%s: got %v, want %q", url, err, want)
		case strings.Contains(err.Error(), "hun"), strings.Contains(err.Error(), "ter@"):
			t.Errorf("%s: the error shows the password: %v", url, err)
		}
	}
}

func TestParseURLReadsTheCertificate(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for accept, insecure := range map[string]bool{"": true, "&sslaccept=strict": false, "&sslaccept=accept_invalid_certs": true} {
		got, err := parseURL("mysql://u:p@db/a?sslcert=" + path + accept)
		if err != nil {
			t.Fatal(err)
		}
		if got.mysql.TLS.RootCAs == nil || got.mysql.TLS.InsecureSkipVerify != insecure {
			t.Errorf("%q: got roots %v, insecure %t", accept, got.mysql.TLS.RootCAs, got.mysql.TLS.InsecureSkipVerify)
		}
	}
}
