package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/test/harness"
)

// TestOvertake has a campaign take the one slot of a worker and its one connection to a slow relay: a single mail is sent
// in the middle of it.
func TestOvertake(t *testing.T) {
	t.Parallel()
	harness.Binary(t)
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			const people = 900 // one job
			services, relay := s.start(t), harness.StartRelay(t)
			pass, opened := make(chan struct{}), make(chan struct{})
			open := sync.OnceFunc(func() { close(opened) })
			t.Cleanup(open) // before the relay is closed, which waits for its mails
			relay.OnMail(func(int) {
				select {
				case <-pass:
				case <-opened:
				}
			})
			facade := startAlone(t, t.TempDir(), services.Env().With(relay.Env()).With(harness.Env{
				"WORKER_CONCURRENCY": "1", "SMTP_MAX_CONNECTIONS": "1",
			}))
			list, err := json.Marshal(harness.Addresses(people, "example.org"))
			if err != nil {
				t.Fatal(err)
			}
			post[ok](t, facade.address+"/send-campaign", aloneKey,
				fmt.Sprintf(`{"subject": "News", "body": "text", "recipients": %s}`, list), http.StatusAccepted)
			step := func() {
				select {
				case pass <- struct{}{}:
				default:
				}
			}
			harness.Eventually(t, "the campaign is being sent", func() bool { step(); return relay.Count() >= 3 })
			post[ok](t, facade.address+"/send_async", aloneKey, mailTo("eve@example.net"), http.StatusAccepted)
			harness.Eventually(t, "the single mail is at the relay", func() bool { step(); return relay.Recipients()["eve@example.net"] == 1 })
			if n := relay.Count(); n >= people {
				t.Errorf("the single mail came after %d others", n-1)
			}
			open()
			harness.Eventually(t, "all mails are at the relay", func() bool { return relay.Count() >= people+1 })
			facade.Stop()
			if diff := cmp.Diff(once(append(harness.Addresses(people, "example.org"), "eve@example.net")...), relay.Recipients()); diff != "" {
				t.Errorf("mails at the relay (-want +got):\n%s", diff)
			}
		})
	}
}
