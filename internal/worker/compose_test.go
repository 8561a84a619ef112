package worker_test

import (
	"bytes"
	"context"
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

// tailRelay takes mails without their tail.
type tailRelay struct {
	*scriptedRelay

	own map[string]int // octets that a mail had to itself, by recipient
}

func (r tailRelay) SendTail(ctx context.Context, envelope cartero.Envelope, raw []byte, tail cartero.Tail, beforeDot func() error) cartero.Verdict {
	r.mu.Lock()
	r.own[envelope.To] = len(raw)
	r.mu.Unlock()
	return r.Send(ctx, envelope, append(bytes.Clone(raw), tail.Bytes()...), beforeDot)
}

// Mails share the bytes of what is attached to all of them, where the Sender can; they are the same mails.
func TestAttachmentsAreShared(t *testing.T) {
	t.Parallel()
	mails := map[bool][]string{}
	for _, shares := range []bool{false, true} {
		bubble(t, func(w *world) {
			job := w.seedContent(campaign.Content{
				From: cartero.Address{Address: testFrom}, Subject: "Hello {{name}}", Text: "Hello", Mustache: true,
				Attachments: []campaign.Attachment{{Name: "a.bin", ContentType: "application/octet-stream", Data: make([]byte, 100<<10)}},
			},
				campaign.Recipient{Address: address(0), Variables: map[string]string{"name": "Ana"}},
				campaign.Recipient{Address: address(1), Variables: map[string]string{"name": "Bo"}},
			)
			relay := tailRelay{w.relay, map[string]int{}}
			k := w.start(func(cfg *worker.Config) {
				if shares {
					cfg.Sender = relay
				}
			})
			w.run(k, job)
			w.stop(k)
			w.expect([]row{accepted(address(0)), accepted(address(1))})
			for _, to := range []string{address(0), address(1)} {
				_, raw, _ := strings.Cut(w.relay.raw[to][0], "\nDate: ")
				_, raw, _ = strings.Cut(raw, "\n") // the two campaigns were not opened at the same time
				mails[shares] = append(mails[shares], raw)
				if own := relay.own[to]; shares && (own == 0 || own > 2<<10) {
					t.Errorf("a mail has %d octets to itself", own)
				}
			}
		})
	}
	if diff := cmp.Diff(mails[false], mails[true]); diff != "" || len(mails[true]) != 2 || len(mails[true][0]) < 100<<10 {
		t.Errorf("mails that share (-want +got):\n%s", diff)
	}
}
