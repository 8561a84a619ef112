package check_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/smtp"
	"github.com/cartero-mail/cartero/internal/store"
	"github.com/cartero-mail/cartero/internal/worker"
	"github.com/cartero-mail/cartero/test/faults/check"
	"github.com/cartero-mail/cartero/test/faults/ledger"
)

const (
	key    = "ns/news"
	sender = "news@news.example.com"
)

// people are the recipients of the campaign, with what the relay does to them.
var people = []campaign.Recipient{
	person("ada@example.org"), person("550+bob@example.org"), person("552dot+cleo@example.org"),
	person("dropafterdot+dan@example.org"), person("250drop+eve@example.org"), person("slow+fay@example.org"),
}

func person(address string) campaign.Recipient {
	return campaign.Recipient{Address: address, Name: "Jo", Variables: map[string]string{"name": "Jo"}}
}

// delivered is a database with a campaign that a worker has sent to the relay, and the relay's book.
func delivered(t *testing.T) (databaseURL, file, book string) {
	t.Helper()
	ctx := t.Context()
	file = filepath.Join(t.TempDir(), "cartero.db")
	databaseURL = "sqlite://" + file
	db, err := store.Open(ctx, databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	draft := campaign.Draft{
		Key: key, Origin: campaign.OriginKubernetes, ListHash: "list", JobSize: 100, CreatedAt: time.Now(),
		Content: campaign.Content{Subject: "News for {{name}}", Text: "There is news.\n", HTML: "<p>There is news, {{name}}.</p>", Mustache: true},
	}
	if _, err := db.Open(ctx, draft); err != nil {
		t.Fatal(err)
	}
	if err := db.WriteShard(ctx, campaign.Shard{Key: key, Recipients: people}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Seal(ctx, key, campaign.Totals{Recipients: int64(len(people)), Jobs: 1}, time.Now()); err != nil {
		t.Fatal(err)
	}
	relay := ledger.Start(t, ledger.Config{})
	pool, err := smtp.NewPool(smtp.Config{Host: relay.Host(), Port: relay.Port(), HELO: "worker.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	w, err := worker.New(worker.Config{Store: db, Sender: pool, JournalDir: t.TempDir(), From: mail.Address{Address: sender}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := w.HandleJob(ctx, campaign.JobID(key, 0)); err != nil {
		t.Fatal(err)
	}
	if err := w.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	_ = pool.Close()
	_ = relay.Close()
	return databaseURL, file, relay.Path()
}

// TestLoad judges what a worker has really done, and that with a row and a mail changed behind its back.
func TestLoad(t *testing.T) {
	t.Parallel()
	databaseURL, file, book := delivered(t)
	load := func() check.Run {
		t.Helper()
		run := check.Run{}
		if err := run.Read(check.Files{Ledger: book}); err != nil {
			t.Fatal(err)
		}
		if err := run.Load(t.Context(), databaseURL, mail.Address{Address: sender}); err != nil {
			t.Fatal(err)
		}
		run.Leases = nil // the one that there was runs out in a minute, and is swept then
		return run
	}
	run := load()
	report := check.Check(run)
	for _, v := range report.Violations {
		t.Errorf("a run without a fault: %v", v)
	}
	states, ids := map[campaign.State]int{}, map[string]string{}
	for _, row := range run.Rows {
		states[row.State]++
		ids[row.Key] = row.ID
	}
	want := map[campaign.State]int{"accepted": 3, "bounced": 1, "failed": 1, "inDoubt": 1}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}

	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	ada, dan := ids[ledger.Key("ada@example.org")], ids[ledger.Key("dropafterdot+dan@example.org")]
	for _, change := range []struct{ statement, id string }{
		{"UPDATE `Recipient` SET `name` = 'Eda' WHERE `id` = ?", ada},
		{"UPDATE `Recipient` SET `status` = 'PENDING', `state` = 'pending' WHERE `id` = ?", dan},
	} {
		if _, err := db.ExecContext(t.Context(), change.statement, change.id); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{}
	for _, v := range check.Check(load()).Violations {
		got[v.Invariant+" "+v.Subject] = v.Message
	}
	for _, violation := range []string{"I4 " + ada, "I1 " + dan, "I3 " + dan} {
		if got[violation] == "" {
			t.Errorf("%s is not noticed: %v", violation, got)
		}
	}
}
