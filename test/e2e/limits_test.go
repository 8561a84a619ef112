package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/test/harness"
)

// TestDomainLimitOfThreeWorkers has three workers send to a group of domains with a limit, each a campaign of its own, and
// kills one (-9) on the way: at no time more mails have come than the limit allows, the others take over what the dead one
// had of it, and everybody gets one mail.
func TestDomainLimitOfThreeWorkers(t *testing.T) {
	t.Parallel()
	harness.Binary(t)
	const (
		each, workers = 50, 3
		every         = 100 * time.Millisecond
	)
	services, relay := harness.RealServices(t), harness.StartRelay(t)
	var mu sync.Mutex
	var came []time.Time
	killing := make(chan struct{})
	relay.OnMail(func(n int) {
		mu.Lock()
		defer mu.Unlock()
		came = append(came, time.Now())
		if n == each*workers/3 {
			close(killing)
		}
	})
	env := services.Env().With(relay.Env()).With(harness.Env{
		"LOG_FORMAT": "text", "METRICS_BIND_ADDRESS": "0", "HEALTH_PROBE_BIND_ADDRESS": "0", "SMTP_FROM": harness.Sender,
		"SWEEP_INTERVAL": "1s", "BULL_LOCK_DURATION": "1s", "BULL_STALLED_INTERVAL": "1s", "WORKER_LEASE": "10s",
		"WORKER_CONCURRENCY": "2", "SMTP_DOMAIN_LIMITS": "example.org,*.example.org=600/1m;*=20/1s,connections=2",
	})
	facade := harness.Start(t, env.With(harness.Env{
		"API_KEY": aloneKey, "SERVICE_HOST": "127.0.0.1", "SERVICE_PORT": "0", "WORKER_JOURNAL_DIR": t.TempDir(),
	}), "facade")
	_, address, _ := strings.Cut(facade.Await("msg=Listening"), "address=")
	awaitReady(t, address)
	var fleet []*harness.Process
	for range workers {
		p := harness.Start(t, env.With(harness.Env{"WORKER_JOURNAL_DIR": t.TempDir()}), "worker")
		p.Await("Taking jobs")
		fleet = append(fleet, p)
	}
	want := map[string]int{}
	for i := range workers {
		people := harness.Addresses(each, []string{"example.org", "mail.example.org", "deep.mail.example.org"}[i])
		for _, one := range people {
			want[one] = 1
		}
		list, err := json.Marshal(people)
		if err != nil {
			t.Fatal(err)
		}
		post[ok](t, "http://"+address+"/send-campaign", aloneKey,
			fmt.Sprintf(`{"subject": "News %d", "body": "text", "recipients": %s}`, i, list), http.StatusAccepted)
	}
	select {
	case <-killing:
	case <-t.Context().Done():
		t.Fatal("too few mails came")
	}
	fleet[0].Kill()
	killed := time.Now()
	harness.Eventually(t, "everybody has ended", func() bool {
		ended := 0
		for _, r := range services.Recipients(t) {
			if r.State == "accepted" || r.State == "inDoubt" {
				ended++
			}
		}
		return ended == each*workers
	})
	mu.Lock()
	defer mu.Unlock()
	for i, at := range came {
		// The first mail may have been late by as much.
		if took, least := at.Sub(came[0]), time.Duration(i)*every-time.Second; took < least {
			t.Errorf("mail %d came %s after the first, want %s at least", i+1, took, least)
			break
		}
	}
	t.Logf("%d mails in %s, %s of it after the kill; every %s is allowed", len(came), came[len(came)-1].Sub(came[0]),
		came[len(came)-1].Sub(killed), every)
	got := relay.Recipients()
	for _, r := range services.Recipients(t) {
		if r.State == "inDoubt" && got[r.Email] == 0 { // the dead worker's last
			delete(want, r.Email)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mails at the relay (-want +got):\n%s", diff)
	}
}
