package e2e

import (
	"os"
	"testing"

	"github.com/cartero-mail/cartero/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// stack is what cartero keeps its data in.
type stack struct {
	name  string
	start func(testing.TB) harness.Services
}

// stacks are those that the same story is told on.
var stacks = []stack{
	{"SQLite and the embedded Redis", harness.EmbeddedServices},
	{"MariaDB and Redis", harness.RealServices},
}

// onEachStack tells a story on both stacks at once.
func onEachStack(t *testing.T, story func(t *testing.T, w *harness.World)) {
	t.Helper()
	harness.Binary(t) // skips with -short
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			story(t, harness.NewWorld(t, s.start(t)))
		})
	}
}
