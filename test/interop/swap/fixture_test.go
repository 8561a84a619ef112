// Package swap holds Cartero against a Node backend and a Node worker on the same database and queue, one of them swapped
// for it at a time and both at once: with the real Prisma, the real Bull and nodemailer.
package swap

import (
	"os"
	"strings"
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
	if err := nodejs.GeneratePrisma(dir); err != nil {
		t.Fatal(err)
	}
	env = append([]string{
		timeZone, "DATABASE_URL=" + services.DatabaseURL, "REDIS_URL=" + services.RedisURL, "BULL_PREFIX=" + services.Prefix,
		"QUEUE_NAME_EMAIL=" + queueName,
	}, env...)
	return nodejs.Start(t, "swap/"+script, nil, env...)
}

const queueName = "email-queue"
