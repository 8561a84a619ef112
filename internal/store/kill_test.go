package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/store"
)

// loadVariable holds the database that a child of the tests loads a list into.
const loadVariable = "STORE_TEST_LOAD_INTO"

// TestMain is a process that loads a list, and is killed, when the tests start this program again.
func TestMain(m *testing.M) {
	url := os.Getenv(loadVariable)
	if url == "" {
		os.Exit(m.Run())
	}
	if err := loadInto(context.Background(), url); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func loadInto(ctx context.Context, url string) error {
	s, err := store.Open(ctx, url)
	if err != nil {
		return err
	}
	_, err = campaign.NewLoader(s, nil).Load(ctx, killedDraft(), &crowd{})
	return errors.Join(err, s.Close())
}

const (
	crowdSize    = 40_000
	crowdJobSize = 100
)

func killedDraft() campaign.Draft {
	return campaign.Draft{
		Key: "growth/crowd", Origin: campaign.OriginKubernetes, Content: campaign.Content{Subject: "Hi", Text: "Hello"},
		ListHash: "crowd", JobSize: crowdJobSize, CreatedAt: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
	}
}

// crowd is a list of crowdSize.
type crowd struct{ at int }

func (c *crowd) Next(context.Context) (campaign.Recipient, error) {
	if c.at == crowdSize {
		return campaign.Recipient{}, io.EOF
	}
	c.at++
	return campaign.Recipient{Address: fmt.Sprintf("user%d@example.com", c.at)}, nil
}

func (c *crowd) Totals() campaign.Totals { return campaign.Totals{} }

func TestKilledWhileLoadingSQLite(t *testing.T) {
	t.Parallel()
	testKilledWhileLoading(t, sqliteDatabase(t))
}

func TestKilledWhileLoadingMySQL(t *testing.T) {
	t.Parallel()
	needMySQL(t)
	testKilledWhileLoading(t, mysqlDatabase(t))
}

// Two processes are killed one after another in the midst of loading; the third completes the campaign.
func testKilledWhileLoading(t *testing.T, db database) {
	t.Helper()
	s := open(t, db)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, jobs := range []int{7, 40} {
		killAt(t, db, jobs)
		record, err := s.Campaign(t.Context(), killedDraft().Key)
		if err != nil || record.Sealed() {
			t.Fatalf("%d jobs were enough to be sealed: %v", jobs, err)
		}
	}
	record, err := campaign.NewLoader(s, nil).Load(t.Context(), killedDraft(), &crowd{})
	if err != nil || !record.Sealed() || record.Totals.Recipients != crowdSize || record.Totals.Jobs != crowdSize/crowdJobSize {
		t.Fatalf("loaded %+v, %v", record, err)
	}
	for statement, want := range map[string]int{
		"SELECT COUNT(*) FROM `Recipient`":                                  crowdSize,
		"SELECT COUNT(DISTINCT `email`) FROM `Recipient`":                   crowdSize,
		"SELECT COUNT(*) FROM `EmailJob`":                                   crowdSize / crowdJobSize,
		"SELECT COUNT(DISTINCT `jobId`) FROM `Recipient`":                   crowdSize / crowdJobSize,
		"SELECT COUNT(*) FROM `EmailJob` WHERE `totalEmails` <> 100":        0,
		"SELECT COUNT(*) FROM `Recipient` WHERE `state` <> 'pending'":       0,
		"SELECT COUNT(*) FROM `Recipient` WHERE `email` NOT LIKE 'user%@%'": 0,
	} {
		if got := count(t, db, statement); got != want {
			t.Errorf("%s: %d, want %d", statement, got, want)
		}
	}
}

// killAt starts a process that loads the list, and kills it when it has written so many jobs.
func killAt(t *testing.T, db database, jobs int) {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), loadVariable+"="+db.url)
	var output bytes.Buffer
	command.Stderr = &output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	for count(t, db, "SELECT COUNT(*) FROM `EmailJob`") < jobs {
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(time.Millisecond):
		}
	}
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err == nil || output.Len() > 0 {
		t.Fatalf("the process ended by itself: %v, %s", err, output.String())
	}
}

func count(t *testing.T, db database, statement string) (n int) {
	t.Helper()
	if err := db.sql.QueryRowContext(t.Context(), statement).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
