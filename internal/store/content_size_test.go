package store_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/store"
)

// onBoth runs a test on SQLite, and on the server of TEST_DATABASE_URL.
func onBoth(t *testing.T, test func(*testing.T, *store.Store)) {
	t.Helper()
	for name, create := range map[string]func(testing.TB) database{"SQLite": sqliteDatabase, "MySQL": mysqlDatabase} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "MySQL" {
				needMySQL(t)
			}
			s := open(t, create(t))
			if err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			test(t, s)
		})
	}
}

// The largest message that the API takes fits into a packet of the database.
func TestLargestContent(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *store.Store) {
		t.Helper()
		content := campaign.Content{
			From: mail.Address{Address: "news@example.com"}, Subject: "News",
			Text: strings.Repeat("\"", 128<<10), HTML: strings.Repeat("<", 128<<10),
			Attachments: []campaign.Attachment{{Name: "a.bin", ContentType: "application/octet-stream", Data: bytes.Repeat([]byte{0xff, 0, '\\'}, 10<<20/3)}},
		}
		draft := campaign.Draft{Key: "k", Origin: campaign.OriginKubernetes, Content: content, ListHash: "l", JobSize: 1, CreatedAt: time.Now()}
		if _, err := s.Open(t.Context(), draft); err != nil {
			t.Fatal(err)
		}
		if err := s.WriteShard(t.Context(), campaign.Shard{Key: "k", Recipients: []campaign.Recipient{{Address: "ada@example.org"}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Seal(t.Context(), "k", campaign.Totals{Recipients: 1, Jobs: 1}, time.Now()); err != nil {
			t.Fatal(err)
		}
		job, err := s.Job(t.Context(), campaign.JobID("k", 0))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(content, job.Content); diff != "" {
			t.Error("the content that was read is another one")
		}
	})
}

func TestCountSuppressed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *store.Store) {
		t.Helper()
		entry := func(address, scope string) campaign.Suppression {
			return campaign.Suppression{
				SuppressionKey: campaign.SuppressionKey{Address: address, Scope: scope}, Reason: campaign.SuppressedManual, CreatedAt: time.Now(),
			}
		}
		_, err := s.Suppress(t.Context(), []campaign.Suppression{
			entry("ada@example.org", ""), entry("ada@example.org", "news.example.com"),
			entry("bob@example.org", "news.example.com"), entry("cid@example.org", "other.example.com"),
		})
		if err != nil {
			t.Fatal(err)
		}
		addresses := []string{"Ada@Example.org", "ada@example.org", "bob@example.org", "cid@example.org", "dan@example.org"}
		for listID, want := range map[string]int{"": 1, "news.example.com": 2, "none.example.com": 1} {
			if got, err := s.CountSuppressed(t.Context(), listID, addresses); err != nil || got != want {
				t.Errorf("CountSuppressed for %q = %d, %v; want %d", listID, got, err, want)
			}
		}
	})
}
