package dependencies

import (
	"context"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// everything reports whether each fault is to be tried at every place.
func everything() bool { return os.Getenv("TEST_FAULTS") == "all" }

// elsewhere is a URL with another host.
func elsewhere(t *testing.T, serverURL, host string) string {
	t.Helper()
	u, err := url.Parse(serverURL)
	if err != nil {
		t.Fatal("the URL of a service is not one")
	}
	u.Host = host
	return u.String()
}

// slowness is how long a slow server takes for each request.
func slowness() time.Duration {
	if everything() {
		return 2 * time.Second
	}
	return 300 * time.Millisecond
}

// await waits for something that another process brings about.
func await(t *testing.T, done <-chan struct{}, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatalf("gave up waiting for %s", what)
	}
}
