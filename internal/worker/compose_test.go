package worker_test

import (
	"fmt"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
	cartero "github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/worker"
)

// seedContent writes and seals a campaign of one job that says this.
func (w *world) seedContent(content campaign.Content, recipients ...campaign.Recipient) string {
	w.t.Helper()
	ctx := w.t.Context()
	draft := campaign.Draft{
		Key: testKey, Origin: campaign.OriginKubernetes, ListHash: "list", JobSize: 100, CreatedAt: time.Now(), Content: content,
	}
	if _, err := w.db.Open(ctx, draft); err != nil {
		w.t.Fatal(err)
	}
	if err := w.db.WriteShard(ctx, campaign.Shard{Key: testKey, Recipients: recipients}); err != nil {
		w.t.Fatal(err)
	}
	totals := campaign.Totals{Recipients: int64(len(recipients)), Jobs: 1}
	if _, err := w.db.Seal(ctx, testKey, totals, time.Now()); err != nil {
		w.t.Fatal(err)
	}
	return campaign.JobID(testKey, 0)
}

// A template becomes a mail for each recipient; who lacks a variable fails alone, and nothing says a value.
func TestTemplates(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		job := w.seedContent(campaign.Content{
			From: cartero.Address{Address: testFrom}, Subject: "Hello {{name}}", HTML: "<p>{{plan}} ends</p>", Mustache: true,
			DeriveText: true, Unsubscribe: campaign.Unsubscribe{Managed: true, Mailto: "leave+me@shop.example"},
		},
			campaign.Recipient{Address: address(0), Variables: map[string]string{"name": "Ana", "plan": "A & B"}},
			campaign.Recipient{Address: address(1), Variables: map[string]string{"name": "secret value"}},
			campaign.Recipient{Address: address(2), Name: "Bo", Variables: map[string]string{"plan": "C"}},
		)
		k := w.start(func(cfg *worker.Config) {
			cfg.MaxConnections = 1
			cfg.UnsubscribeURL = func(id string) string { return "https://mail.shop.example/u/" + id }
		})
		w.run(k, job)
		w.stop(k)
		failed := row{Email: address(1), Status: "FAILED", State: "failed", Attempts: 1, Category: cartero.CategoryInvalid}
		w.expect([]row{accepted(address(0)), failed, accepted(address(2))})

		var got []string
		for _, to := range []string{address(0), address(2)} {
			_, raw, _ := strings.Cut(w.relay.raw[to][0], "\n")
			m, err := mail.ReadMessage(strings.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(m.Header.Get("Subject"), " ", m.Header.Get("List-Unsubscribe"), " ",
				m.Header.Get("List-Unsubscribe-Post"), " ", strings.Contains(raw, "<p>A &amp; B ends</p>"), strings.Contains(raw, "\r\nA & B ends")))
		}
		link := func(i int) string {
			return " <https://mail.shop.example/u/" + campaign.RecipientID(job, i, address(i)) + ">, <mailto:leave%2Bme@shop.example> List-Unsubscribe=One-Click "
		}
		want := []string{"Hello Ana" + link(0) + "true true", "Hello Bo" + link(2) + "false false"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// A worker that can't make the links that a campaign promises leaves its jobs to others.
func TestUnsubscribeLinksThatThisWorkerCanNotMake(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		job := w.seedContent(campaign.Content{
			From: cartero.Address{Address: testFrom}, Subject: "News", Text: "News", Unsubscribe: campaign.Unsubscribe{Managed: true},
		}, campaign.Recipient{Address: address(0)})
		k := w.start(nil)
		if _, err := k.HandleJob(w.t.Context(), job); err == nil || !strings.Contains(err.Error(), "UNSUBSCRIBE_URL") {
			t.Errorf("HandleJob returned %v", err)
		}
		w.stop(k)
		w.expect([]row{waiting(address(0))})
	})
}
