package store

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// ErrBadURL means that DATABASE_URL is not a URL that names a database. What wraps it says what is wrong, without the
// password.
var ErrBadURL = errors.New("DATABASE_URL is not valid")

// defaultConnections is the size of the pool where connection_limit does not say.
const defaultConnections = 10

// target is a database to connect to.
type target struct {
	engine      engine
	path        string        // SQLite: the file
	mysql       *mysql.Config // MySQL
	connections int
}

// parseURL reads DATABASE_URL. It never quotes the URL: where a password is not percent-encoded, any part of it may be
// the password.
func parseURL(text string) (target, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	switch {
	case !ok:
		return target{}, fmt.Errorf("%w: want mysql://user:password@host:port/database or sqlite://path", ErrBadURL)
	case scheme == "sqlite":
		return parseSQLiteURL(rest)
	case scheme == "mysql":
		return parseMySQLURL(text)
	default:
		return target{}, fmt.Errorf("%w: its scheme is neither mysql nor sqlite", ErrBadURL)
	}
}

func parseSQLiteURL(rest string) (target, error) {
	path, _, _ := strings.Cut(rest, "?")
	path, err := url.PathUnescape(path)
	if err != nil {
		return target{}, fmt.Errorf("%w: the path of sqlite:// has a wrong percent-encoding", ErrBadURL)
	}
	if path == "" || strings.HasPrefix(path, ":memory:") {
		return target{}, fmt.Errorf("%w: sqlite:// needs the path of a file", ErrBadURL)
	}
	return target{engine: engineSQLite, path: path, connections: defaultConnections}, nil
}

func parseMySQLURL(text string) (target, error) {
	u, err := url.Parse(text)
	if err != nil { // the cause may quote the password
		return target{}, fmt.Errorf("%w: percent-encode the special characters of user and password", ErrBadURL)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return target{}, fmt.Errorf("%w: its parameters can't be read", ErrBadURL)
	}
	database := strings.TrimPrefix(u.Path, "/")
	switch {
	case u.Hostname() == "" && query.Get("socket") == "":
		return target{}, fmt.Errorf("%w: it has no host", ErrBadURL)
	case database == "" || strings.Contains(database, "/"):
		return target{}, fmt.Errorf("%w: want one database name after the host", ErrBadURL)
	}

	config := mysqlDefaults()
	config.User = u.User.Username()
	config.Passwd, _ = u.User.Password()
	config.DBName = database
	port := u.Port()
	if port == "" {
		port = "3306"
	}
	config.Net, config.Addr = "tcp", net.JoinHostPort(u.Hostname(), port)

	t := target{engine: engineMySQL, mysql: config, connections: defaultConnections}
	return t, applyPrismaParameters(&t, query)
}

// mysqlDefaults is the session that every statement of this package counts on.
func mysqlDefaults() *mysql.Config {
	config := mysql.NewConfig()
	config.Collation = "utf8mb4_unicode_ci"
	config.ParseTime = true
	config.Loc = time.UTC
	config.InterpolateParams = true // one round trip instead of prepare, execute, close
	config.RejectReadOnly = true    // a demoted primary: the pool drops the connection and finds the new one
	config.ClientFoundRows = true   // RowsAffected counts what matched, as SQLite does
	config.MultiStatements = false
	config.MaxAllowedPacket = 0 // ask the server
	config.Timeout = 5 * time.Second
	config.Logger = &mysql.NopLogger{}
	config.Params = map[string]string{
		// Strict whatever the server's default: a value that does not fit is an error, never cut.
		"sql_mode":  "'TRADITIONAL'",
		"time_zone": "'+00:00'",
		// A process that is frozen or gone without a word in the middle of a transaction keeps its locks no longer than this.
		"wait_timeout": strconv.Itoa(int(silence / time.Second)),
	}
	return config
}

// applyPrismaParameters reads the parameters that Prisma documents for MySQL. pool_timeout is left to the caller's
// context; statement_cache_size and whatever else Prisma understands change nothing here.
func applyPrismaParameters(t *target, query url.Values) error {
	if text := query.Get("connection_limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("%w: connection_limit must be a positive number", ErrBadURL)
		}
		t.connections = n
	}
	if socket := query.Get("socket"); socket != "" {
		t.mysql.Net, t.mysql.Addr = "unix", socket
	}

	timeouts := map[string]func(time.Duration){
		"connect_timeout": func(d time.Duration) { t.mysql.Timeout = d },
		"socket_timeout":  func(d time.Duration) { t.mysql.ReadTimeout, t.mysql.WriteTimeout = d, d },
	}
	for name, set := range timeouts {
		text := query.Get(name)
		if text == "" {
			continue
		}
		seconds, err := strconv.Atoi(text)
		if err != nil || seconds < 0 {
			return fmt.Errorf("%w: %s must be a number of seconds", ErrBadURL, name)
		}
		set(time.Duration(seconds) * time.Second)
	}
	return applyTLS(t.mysql, query)
}

// applyTLS follows Prisma: TLS only where a parameter asks for it, and then with any certificate unless sslaccept is
// strict.
func applyTLS(config *mysql.Config, query url.Values) error {
	accept, certificate := query.Get("sslaccept"), query.Get("sslcert")
	if query.Get("sslidentity") != "" {
		return fmt.Errorf("%w: sslidentity (a client certificate in PKCS #12) is not supported", ErrBadURL)
	}
	if accept == "" && certificate == "" {
		return nil
	}

	config.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	switch accept {
	case "strict":
	case "", "accept_invalid_certs":
		config.TLS.InsecureSkipVerify = true // what the operator asked for, by Prisma's name of it
	default:
		return fmt.Errorf("%w: sslaccept must be strict or accept_invalid_certs", ErrBadURL)
	}
	if certificate == "" {
		return nil
	}
	text, err := os.ReadFile(certificate) //nolint:gosec // the operator names the file
	if err != nil {
		return fmt.Errorf("%w: reading sslcert: %w", ErrBadURL, err)
	}
	config.TLS.RootCAs = x509.NewCertPool()
	if !config.TLS.RootCAs.AppendCertsFromPEM(text) {
		return fmt.Errorf("%w: sslcert holds no certificate in PEM", ErrBadURL)
	}
	return nil
}
