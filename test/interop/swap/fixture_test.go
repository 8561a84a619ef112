// Package swap holds Cartero against a Node backend and a Node worker on the same database and queue, one of them swapped
// for it at a time and both at once: with the real Prisma, the real Bull and nodemailer.
package swap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cartero-mail/cartero/test/harness"
	"github.com/cartero-mail/cartero/test/nodejs"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// timeZone is that of the Node programs: whatever they read and write must be UTC all the same.
const timeZone = "TZ=America/Bogota"

// newServices are a database as the legacy programs leave it to Cartero, empty, and a queue.
func newServices(t *testing.T) harness.Services {
	t.Helper()
	harness.Binary(t) // skips with -short
	services := harness.RealServices(t)
	tables, err := os.ReadFile("../../../internal/store/testdata/tables.sql")
	if err != nil {
		t.Fatal(err)
	}
	for statement := range strings.SplitSeq(string(tables), ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := services.DB.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("Making the legacy tables: %v", err)
		}
	}
	return services
}

// migrate runs `cartero migrate`.
func migrate(t *testing.T, services harness.Services) {
	t.Helper()
	p := harness.Start(t, services.Env(), "migrate")
	if code := p.Wait(); code != 0 {
		t.Fatalf("cartero migrate ended with %d:\n%s", code, p.Output())
	}
}

// startPrograms starts a Node program of this folder on the services.
func startProgram(t *testing.T, script string, services harness.Services, env ...string) *nodejs.Process {
	t.Helper()
	dir := nodejs.Dir(t)
	if err := generateClient(dir); err != nil {
		t.Fatal(err)
	}
	env = append([]string{
		timeZone, "DATABASE_URL=" + services.DatabaseURL, "REDIS_URL=" + services.RedisURL, "BULL_PREFIX=" + services.Prefix,
		"QUEUE_NAME_EMAIL=" + queueName,
	}, env...)
	return nodejs.Start(t, "swap/"+script, nil, env...)
}

const queueName = "email-queue"

var generation struct {
	sync.Once

	err error
}

// generateClient makes the Prisma client, once for the packages and the schema, over all test binaries.
func generateClient(dir string) error {
	generation.Do(func() { generation.err = generateOnce(dir) })
	return generation.err
}

func generateOnce(dir string) (err error) {
	if err := os.MkdirAll(filepath.Join(dir, "generated"), 0o750); err != nil {
		return fmt.Errorf("making the folder of the Prisma client: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "generated", ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("opening the lock of the Prisma client: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("locking the Prisma client: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), nodejs.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "prisma/generate.js")
	cmd.Dir = dir
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("generating the Prisma client: %w\n%s", err, output)
	}
	return nil
}
