package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/cartero-mail/cartero/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// TestRun measures hardly anything, so that the benchmark works on the day it is wanted.
func TestRun(t *testing.T) {
	t.Parallel()
	cartero := harness.Binary(t)
	services := harness.RealServices(t)
	var out bytes.Buffer
	err := run(t.Context(), []string{
		"-cartero", cartero, "-database", services.DatabaseURL, "-redis", services.RedisURL, "-recipients", "2000", "-mails", "5",
		"-small", "2", "-delays", "0s,1ms", "-rate", "6000", "-rated", "20",
	}, &out, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if rows := strings.Count(out.String(), "\n| "); rows != 7+4 {
		t.Errorf("%d rows in the tables, want 7 and 4:\n%s", rows, out.String())
	}
}
